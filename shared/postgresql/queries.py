"""What is asked of the server's catalogue and of a slot."""

__all__ = ["PAGE", "PEEK", "PUBLICATION", "PUBLISHED", "SLOT", "TABLES", "TYPES"]

PEEK = """
select lsn, data from pg_logical_slot_peek_binary_changes(
    $1, null, $2, 'proto_version', '1', 'publication_names', $3, 'messages', 'true'
)
"""
TABLES = """
select n.nspname || '.' || c.relname as name, c.relkind::text, c.relpersistence::text,
    c.relreplident = 'n' or exists (
        select from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid where p.relreplident = 'n'
    ) as nothing,
    case when c.relkind = 'p' then not exists (
        select from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid
        where p.relkind <> 'p' and p.relreplident <> 'f'
    ) else c.relreplident = 'f' end as whole,
    array(
        select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ) as columns,
    has_table_privilege(c.oid, 'select') as readable,
    array(
        select a.attname::text
        from pg_index i cross join unnest(i.indkey) with ordinality k(number, place)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
        where i.indrelid = c.oid and (case when c.relreplident = 'i' then i.indisreplident else i.indisprimary end)
        order by k.place
    ) as key
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname || '.' || c.relname = any($1::text[])
"""
TYPES = """
select oid::bigint,
    case when typelem <> 0 and typlen = -1 and typcategory = 'A' then 'array'
         when typtype = 'd' then 'domain' when typtype = 'e' then 'enum' else '' end as kind,
    case when typtype = 'd' then typbasetype else typelem end::bigint as other
from pg_type where oid >= 16384 and typtype in ('b', 'd', 'e')
    and (typtype <> 'b' or (typelem <> 0 and typlen = -1 and typcategory = 'A'))
"""
PUBLICATION = """
select p.puballtables, p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate as every,
    array(select schemaname || '.' || tablename from pg_publication_tables t where t.pubname = p.pubname) as tables,
    p.pubviaroot, array(
        select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'p' and n.nspname || '.' || c.relname = any($2::text[]) order by 1
    ) as partitioned
from pg_publication p where p.pubname = $1
"""
PUBLISHED = """
select t.schemaname || '.' || t.tablename as name, concat_ws('.', c.oid, r.oid, s.oid) as identity
from pg_publication p
left join pg_publication_tables t on t.pubname = p.pubname
left join pg_namespace n on n.nspname = t.schemaname
left join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
left join pg_publication_namespace s on s.pnpubid = p.oid and s.pnnspid = n.oid
where p.pubname = $1
"""
SLOT = """
select confirmed_flush_lsn, wal_status, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), confirmed_flush_lsn) as lag,
    pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn) as kept,
    plugin is not distinct from 'pgoutput' and database = current_database() and not temporary as fit
from pg_replication_slots where slot_name = $1
"""
PAGE = """
select t.rowfilter,
    array(
        select row(a.attname::text, a.atttypid::bigint)
        from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
            and (t.attnames is null or a.attname = any(t.attnames))
        order by a.attnum
    ) as columns,
    array(
        select row(a.attname::text, format_type(a.atttypid, a.atttypmod))
        from unnest($3::text[]) with ordinality k(name, place)
        join pg_attribute a on a.attrelid = c.oid and a.attname = k.name order by k.place
    ) as keys
from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
where t.pubname = $1 and t.schemaname || '.' || t.tablename = $2
"""
