-- The roles and databases of the examples. `instashop` may create publications and read the log; `dwh` may neither.
set log_statement = 'none';
set log_min_error_statement = 'panic';
\set instashop `cat /secrets/instashop-db/username`
\set instashop_password `cat /secrets/instashop-db/password`
\set dwh `cat /secrets/dwh-db/username`
\set dwh_password `cat /secrets/dwh-db/password`

select format('create role %I', name) from (values (:'instashop'), (:'dwh')) as role (name)
  where not exists (select from pg_roles where rolname = name) \gexec
alter role :"instashop" login replication password :'instashop_password';
alter role :"dwh" login noreplication password :'dwh_password';

select format('create database %I owner %I', name, owner) from (values
    ('instashop', :'instashop'), ('crm_db', :'instashop'), ('erp_db', :'instashop'), ('ecommerce_db', :'instashop'),
    ('dwh_db', :'dwh')) as wanted (name, owner)
  where not exists (select from pg_database where datname = name) \gexec
