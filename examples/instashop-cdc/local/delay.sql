-- How long a sale takes from the shop into the warehouse: waits there for new rows of `transaction`, as many as
-- :samples or as come within :seconds, and compares the clock with the time the generator wrote into each.
create or replace function pg_temp.delays(samples int, seconds int) returns setof double precision language plpgsql as $$
declare
  last bigint := (select coalesce(max(id), 0) from transaction);
  deadline timestamptz := clock_timestamp() + make_interval(secs => seconds);
  seen record;
begin
  while samples > 0 and clock_timestamp() < deadline loop
    -- Each statement sees what was committed before it, so this is a look at the table as it is now.
    select id, extract(epoch from clock_timestamp() - created_at) as delay into seen
      from transaction where id > last order by id limit 1;
    if found then
      last := seen.id;
      samples := samples - 1;
      return next seen.delay;
    else
      perform pg_sleep(0.001);
    end if;
  end loop;
end $$;
select count(*), round(1000 * percentile_cont(0.5) within group (order by d)), round(1000 * percentile_cont(0.99) within group (order by d))
  from pg_temp.delays(:samples, :seconds) d;
