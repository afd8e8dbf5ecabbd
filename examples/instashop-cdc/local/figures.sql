-- The live figures once more, by SQL in the database of the shop: name and value. Windows are named by their beginning;
-- those from :first_window on.
with sale as (
  select d.quantity * d.price as value, d.created_at, p.category
    from transactiondetail d join product p on p.id = d.product_id
)
select 'transactions', count(*)::text from transaction
union all select 'customers', count(*)::text from customer
union all select 'products', count(*)::text from product
union all select 'revenue', trim_scale(coalesce(sum(value), 0))::text from sale
union all select 'revenue_today', trim_scale(coalesce(sum(value), 0))::text from sale
  where (created_at at time zone 'UTC')::date = (now() at time zone 'UTC')::date
union all select 'transactions ' || status, count(*)::text from transaction group by status
union all select 'revenue ' || to_char(date_bin('30 s', created_at, 'epoch') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    || ' ' || category, trim_scale(sum(value))::text
  from sale where created_at >= :'first_window' group by date_bin('30 s', created_at, 'epoch'), category;
