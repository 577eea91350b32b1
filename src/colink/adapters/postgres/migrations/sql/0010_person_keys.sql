-- Personal data is encrypted per person.
select 1;
