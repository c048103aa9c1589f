-- A database in memory: orders of customers. It is filled, indexed, and then asked, most often for few customers.
-- Pseudo-random numbers are multiples of a constant modulo a prime, so that every run touches the same pages.
create table customer (id integer primary key, name text, city text, about text);
create table purchase (id integer primary key, customer integer, product text, cents integer, day text);

with recursive n(i) as (select 1 union all select i + 1 from n where i < 36000)
insert into customer
select i, printf('Customer %06d', i * 7919 % 1000003),
       printf('%s-upon-%s', substr('AshBayDunElmFirHay', 1 + i * 31 % 6 * 3, 3), substr('SeaTynLea', 1 + i % 3 * 3, 3)),
       printf('{"id": %d, "mail": "c%d@example.org", "plan": "%s", "visits": %d, "note": "%s"}', i, i * 104729 % 1000003,
              substr('freeplusteam', 1 + i * 17 % 3 * 4, 4), i * 31 % 97, hex(i * 15485863 % 1000003))
from n;

with recursive n(i) as (select 1 union all select i + 1 from n where i < 240000)
insert into purchase
select i, 1 + i * 48271 % 36007 % 36000, printf('product-%04d', i * 16807 % 2003), 100 + i * 69621 % 9973,
       date('2024-01-01', printf('+%d days', i % 365))
from n;

create index purchase_customer on purchase (customer);
create index purchase_product on purchase (product, day);
create index customer_city on customer (city, name);

-- Customers with low numbers are asked for more often: the remainder is squared.
with recursive n(i) as (select 1 union all select i + 1 from n where i < 6000)
select count(*), sum(cents), max(length(about))
from n join customer on customer.id = 1 + (i * 48271 % 5003) * (i * 48271 % 5003) / 835
join purchase on purchase.customer = customer.id;

with recursive n(i) as (select 1 union all select i + 1 from n where i < 400)
select count(*), sum(cents) from n join purchase on product = printf('product-%04d', i * i % 200) and day < '2024-03-01';

update customer set about = about || ' seen' where id < 4000;
delete from purchase where day < '2024-02-01';
select city, count(*), sum(length(about)) from customer group by city order by 2 desc limit 3;

with recursive n(i) as (select 1 union all select i + 1 from n where i < 6000)
select count(*), sum(cents), max(length(about))
from n join customer on customer.id = 1 + (i * 69621 % 5003) * (i * 69621 % 5003) / 835
join purchase on purchase.customer = customer.id;
