//! What is in `pg_catalog` and `information_schema`?
//!
//! A relation is written as its columns, with a letter for their type: `i` integer, `l` bigint, `h` smallint, `t` text,
//! `b` boolean, `f` real, `T` text[], `H` smallint[], `I` integer[]. Rows name the columns that are not zero, false or
//! NULL. Numbers of PostgreSQL's own relations and types are its own.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;

use super::super::column::{self, Kind, Scalar};
use super::relations::Relation;
use super::{DATABASE, INFORMATION_SCHEMA, PG_CATALOG};
use crate::error::{Error, Result};

/// Number of the role that owns everything.
const OWNER: i32 = 10;
/// Numbers of schemas.
const PG_CATALOG_OID: i32 = 11;
const PUBLIC_OID: i32 = 2_200;
const INFORMATION_SCHEMA_OID: i32 = 13_000;
/// Number of the database.
const DATABASE_OID: i32 = 5;
/// Number of the default tablespace.
const TABLESPACE_OID: i32 = 1_663;
/// Number of the access method of tables.
const HEAP_OID: i32 = 2;

/// Relations of PostgreSQL's catalogue about things that do not exist here.
const EMPTY: [(&str, &str); 48] = [
    ("pg_attrdef", "oid:i adrelid:i adnum:h adbin:t"),
    ("pg_cast", "oid:i castsource:i casttarget:i castfunc:i castcontext:t castmethod:t"),
    (
        "pg_collation",
        "oid:i collname:t collnamespace:i collowner:i collprovider:t collisdeterministic:b collencoding:i collcollate:t collctype:t",
    ),
    (
        "pg_constraint",
        "oid:i conname:t connamespace:i contype:t condeferrable:b condeferred:b convalidated:b conrelid:i contypid:i conindid:i conparentid:i confrelid:i confupdtype:t confdeltype:t confmatchtype:t conislocal:b coninhcount:i connoinherit:b conkey:H confkey:H conpfeqop:I conbin:t",
    ),
    ("pg_depend", "classid:i objid:i objsubid:i refclassid:i refobjid:i refobjsubid:i deptype:t"),
    ("pg_description", "objoid:i classoid:i objsubid:i description:t"),
    ("pg_enum", "oid:i enumtypid:i enumsortorder:f enumlabel:t"),
    ("pg_event_trigger", "oid:i evtname:t evtevent:t evtowner:i evtfoid:i evtenabled:t evttags:T"),
    (
        "pg_extension",
        "oid:i extname:t extowner:i extnamespace:i extrelocatable:b extversion:t extconfig:I extcondition:T",
    ),
    ("pg_foreign_data_wrapper", "oid:i fdwname:t fdwowner:i fdwhandler:i fdwvalidator:i fdwoptions:T"),
    ("pg_foreign_server", "oid:i srvname:t srvowner:i srvfdw:i srvtype:t srvversion:t srvoptions:T"),
    ("pg_foreign_table", "ftrelid:i ftserver:i ftoptions:T"),
    ("pg_get_keywords", "word:t catcode:t catdesc:t"),
    (
        "pg_index",
        "indexrelid:i indrelid:i indnatts:h indnkeyatts:h indisunique:b indnullsnotdistinct:b indisprimary:b indisexclusion:b indimmediate:b indisclustered:b indisvalid:b indcheckxmin:b indisready:b indislive:b indisreplident:b indkey:H indcollation:I indclass:I indoption:H indexprs:t indpred:t",
    ),
    ("pg_indexes", "schemaname:t tablename:t indexname:t tablespace:t indexdef:t"),
    ("pg_inherits", "inhrelid:i inhparent:i inhseqno:i inhdetachpending:b"),
    ("pg_language", "oid:i lanname:t lanowner:i lanispl:b lanpltrusted:b"),
    ("pg_locks", "locktype:t database:i relation:i pid:i mode:t granted:b"),
    (
        "pg_matviews",
        "schemaname:t matviewname:t matviewowner:t tablespace:t hasindexes:b ispopulated:b definition:t",
    ),
    (
        "pg_opclass",
        "oid:i opcmethod:i opcname:t opcnamespace:i opcowner:i opcfamily:i opcintype:i opcdefault:b opckeytype:i",
    ),
    (
        "pg_operator",
        "oid:i oprname:t oprnamespace:i oprowner:i oprkind:t oprleft:i oprright:i oprresult:i oprcode:t",
    ),
    ("pg_partitioned_table", "partrelid:i partstrat:t partnatts:h partdefid:i partattrs:H"),
    ("pg_policy", "oid:i polname:t polrelid:i polcmd:t polpermissive:b polroles:I polqual:t polwithcheck:t"),
    ("pg_prepared_statements", "name:t statement:t prepare_time:t parameter_types:T from_sql:b"),
    (
        "pg_proc",
        "oid:i proname:t pronamespace:i proowner:i prolang:i procost:f prorows:f provariadic:i prokind:t prosecdef:b proleakproof:b proisstrict:b proretset:b provolatile:t proparallel:t pronargs:h pronargdefaults:h prorettype:i proargtypes:I proallargtypes:I proargmodes:T proargnames:T proargdefaults:t prosrc:t probin:t proacl:T",
    ),
    (
        "pg_publication",
        "oid:i pubname:t pubowner:i puballtables:b pubinsert:b pubupdate:b pubdelete:b pubtruncate:b pubviaroot:b",
    ),
    ("pg_publication_namespace", "oid:i pnpubid:i pnnspid:i"),
    ("pg_publication_rel", "oid:i prpubid:i prrelid:i prqual:t prattrs:H"),
    (
        "pg_range",
        "rngtypid:i rngsubtype:i rngmultitypid:i rngcollation:i rngsubopc:i rngcanonical:t rngsubdiff:t",
    ),
    ("pg_replication_slots", "slot_name:t plugin:t slot_type:t datoid:i database:t active:b"),
    ("pg_rewrite", "oid:i rulename:t ev_class:i ev_type:t ev_enabled:t is_instead:b"),
    ("pg_rules", "schemaname:t tablename:t rulename:t definition:t"),
    ("pg_seclabel", "objoid:i classoid:i objsubid:i provider:t label:t"),
    (
        "pg_sequence",
        "seqrelid:i seqtypid:i seqstart:l seqincrement:l seqmax:l seqmin:l seqcache:l seqcycle:b",
    ),
    (
        "pg_sequences",
        "schemaname:t sequencename:t sequenceowner:t data_type:t start_value:l min_value:l max_value:l increment_by:l cycle:b cache_size:l last_value:l",
    ),
    ("pg_shdepend", "dbid:i classid:i objid:i objsubid:i refclassid:i refobjid:i deptype:t"),
    ("pg_shdescription", "objoid:i classoid:i description:t"),
    (
        "pg_stat_activity",
        "datid:i datname:t pid:i usesysid:i usename:t application_name:t state:t query:t backend_type:t",
    ),
    ("pg_stat_database", "datid:i datname:t numbackends:i xact_commit:l xact_rollback:l"),
    ("pg_stat_user_tables", "relid:i schemaname:t relname:t seq_scan:l n_live_tup:l n_dead_tup:l"),
    ("pg_statio_user_tables", "relid:i schemaname:t relname:t heap_blks_read:l"),
    (
        "pg_statistic_ext",
        "oid:i stxrelid:i stxname:t stxnamespace:i stxowner:i stxstattarget:i stxkeys:H stxkind:T stxexprs:t",
    ),
    ("pg_subscription", "oid:i subdbid:i subname:t subowner:i subenabled:b"),
    ("pg_subscription_rel", "srsubid:i srrelid:i srsubstate:t"),
    ("pg_timezone_names", "name:t abbrev:t utc_offset:t is_dst:b"),
    (
        "pg_trigger",
        "oid:i tgrelid:i tgparentid:i tgname:t tgfoid:i tgtype:h tgenabled:t tgisinternal:b tgconstrrelid:i tgconstrindid:i tgconstraint:i tgdeferrable:b tginitdeferred:b tgnargs:h tgattr:H tgargs:t tgqual:t",
    ),
    ("pg_ts_config", "oid:i cfgname:t cfgnamespace:i cfgowner:i cfgparser:i"),
    ("pg_user_mapping", "oid:i umuser:i umserver:i umoptions:T"),
];

/// Relations of the SQL standard about things that do not exist here.
const EMPTY_OF_STANDARD: [(&str, &str); 14] = [
    (
        "character_sets",
        "character_set_catalog:t character_set_schema:t character_set_name:t default_collate_name:t",
    ),
    ("check_constraints", "constraint_catalog:t constraint_schema:t constraint_name:t check_clause:t"),
    ("collations", "collation_catalog:t collation_schema:t collation_name:t pad_attribute:t"),
    (
        "constraint_column_usage",
        "table_catalog:t table_schema:t table_name:t column_name:t constraint_catalog:t constraint_schema:t constraint_name:t",
    ),
    ("domains", "domain_catalog:t domain_schema:t domain_name:t data_type:t"),
    (
        "element_types",
        "object_catalog:t object_schema:t object_name:t object_type:t collection_type_identifier:t data_type:t",
    ),
    (
        "key_column_usage",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t table_schema:t table_name:t column_name:t ordinal_position:i position_in_unique_constraint:i",
    ),
    (
        "parameters",
        "specific_catalog:t specific_schema:t specific_name:t ordinal_position:i parameter_mode:t parameter_name:t data_type:t",
    ),
    (
        "referential_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t unique_constraint_catalog:t unique_constraint_schema:t unique_constraint_name:t match_option:t update_rule:t delete_rule:t",
    ),
    (
        "routines",
        "specific_catalog:t specific_schema:t specific_name:t routine_catalog:t routine_schema:t routine_name:t routine_type:t data_type:t routine_definition:t external_language:t",
    ),
    (
        "sequences",
        "sequence_catalog:t sequence_schema:t sequence_name:t data_type:t start_value:t minimum_value:t maximum_value:t increment:t cycle_option:t",
    ),
    (
        "table_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t table_schema:t table_name:t constraint_type:t is_deferrable:t initially_deferred:t",
    ),
    (
        "table_privileges",
        "grantor:t grantee:t table_catalog:t table_schema:t table_name:t privilege_type:t is_grantable:t",
    ),
    (
        "triggers",
        "trigger_catalog:t trigger_schema:t trigger_name:t event_manipulation:t event_object_schema:t event_object_table:t action_statement:t action_timing:t",
    ),
];

const PG_CLASS: &str = "oid:i relname:t relnamespace:i reltype:i reloftype:i relowner:i relam:i relfilenode:i reltablespace:i relpages:i reltuples:f relallvisible:i reltoastrelid:i relhasindex:b relisshared:b relpersistence:t relkind:t relnatts:h relchecks:h relhasrules:b relhastriggers:b relhassubclass:b relrowsecurity:b relforcerowsecurity:b relispopulated:b relreplident:t relispartition:b relrewrite:i relfrozenxid:i relminmxid:i relacl:T reloptions:T relpartbound:t";
const PG_ATTRIBUTE: &str = "attrelid:i attname:t atttypid:i attstattarget:i attlen:h attnum:h attndims:i attcacheoff:i atttypmod:i attbyval:b attstorage:t attalign:t attcompression:t attnotnull:b atthasdef:b atthasmissing:b attidentity:t attgenerated:t attisdropped:b attislocal:b attinhcount:i attcollation:i attacl:T attoptions:T attfdwoptions:T";
const PG_TYPE: &str = "oid:i typname:t typnamespace:i typowner:i typlen:h typbyval:b typtype:t typcategory:t typispreferred:b typisdefined:b typdelim:t typrelid:i typsubscript:t typelem:i typarray:i typinput:t typoutput:t typreceive:t typsend:t typmodin:t typmodout:t typanalyze:t typalign:t typstorage:t typnotnull:b typbasetype:i typtypmod:i typndims:i typcollation:i typdefaultbin:t typdefault:t typacl:T";
const PG_DATABASE: &str = "oid:i datname:t datdba:i encoding:i datlocprovider:t datistemplate:b datallowconn:b datconnlimit:i datfrozenxid:i datminmxid:i dattablespace:i datcollate:t datctype:t daticulocale:t datcollversion:t datacl:T datlastsysoid:i";
const PG_ROLES: &str = "rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b rolreplication:b rolconnlimit:i rolpassword:t rolvaliduntil:t rolbypassrls:b rolconfig:T oid:i";
const COLUMNS: &str = "table_catalog:t table_schema:t table_name:t column_name:t ordinal_position:i column_default:t is_nullable:t data_type:t character_maximum_length:i character_octet_length:i numeric_precision:i numeric_precision_radix:i numeric_scale:i datetime_precision:i interval_type:t character_set_name:t collation_catalog:t collation_schema:t collation_name:t domain_catalog:t domain_schema:t domain_name:t udt_catalog:t udt_schema:t udt_name:t dtd_identifier:t is_self_referencing:t is_identity:t identity_generation:t is_generated:t generation_expression:t is_updatable:t";

/// Types beside those that columns have: number, name, category.
const OTHER_TYPES: [(i32, &str, &str); 10] = [
    (18, "char", "Z"),
    (19, "name", "S"),
    (26, "oid", "N"),
    (705, "unknown", "X"),
    (1042, "bpchar", "S"),
    (1043, "varchar", "S"),
    (2205, "regclass", "N"),
    (2278, "void", "P"),
    (2950, "uuid", "U"),
    (3802, "jsonb", "U"),
];

/// Numbers of relations that statements name by `::regclass`.
const OIDS: [(&str, i32); 14] = [
    ("pg_attrdef", 2604),
    ("pg_attribute", 1249),
    ("pg_class", 1259),
    ("pg_collation", 3456),
    ("pg_constraint", 2606),
    ("pg_database", 1262),
    ("pg_description", 2609),
    ("pg_extension", 3079),
    ("pg_namespace", 2615),
    ("pg_proc", 1255),
    ("pg_rewrite", 2618),
    ("pg_tablespace", 1213),
    ("pg_trigger", 2620),
    ("pg_type", 1247),
];

/// The relations of both schemas.
#[derive(Debug)]
pub(super) struct Tables {
    of_catalog: BTreeMap<String, RecordBatch>,
    of_standard: BTreeMap<String, RecordBatch>,
    oids: BTreeMap<String, i32>,
}

impl Tables {
    /// The catalogue of `relations`.
    pub(super) fn new(relations: &[Relation]) -> Result<Self> {
        let mut of_catalog = empty(&EMPTY)?;
        of_catalog.extend(of_catalog_itself(relations)?);
        let mut of_standard = empty(&EMPTY_OF_STANDARD)?;
        of_standard.extend(of_standard_itself(relations)?);
        let own = relations.iter().map(|relation| (relation.name.clone(), relation.oid));
        let oids = OIDS.iter().map(|(name, oid)| ((*name).to_owned(), *oid)).chain(own).collect();
        Ok(Self { of_catalog, of_standard, oids })
    }

    /// Names and rows of the relations of a schema.
    pub(super) fn of(&self, schema: &str) -> impl Iterator<Item = (&str, &RecordBatch)> {
        let tables = if schema == INFORMATION_SCHEMA { &self.of_standard } else { &self.of_catalog };
        tables.iter().map(|(name, batch)| (name.as_str(), batch))
    }

    /// Numbers of relations, by name.
    pub(super) fn oids(&self) -> &BTreeMap<String, i32> {
        &self.oids
    }

    /// True for a relation that never has rows.
    pub(super) fn is_empty(&self, schema: &str, name: &str) -> bool {
        let tables = if schema == INFORMATION_SCHEMA { &self.of_standard } else { &self.of_catalog };
        tables.get(name).is_some_and(|batch| batch.num_rows() == 0)
    }
}

/// Names of types by their numbers, as `format_type` prints them.
pub(super) fn type_names() -> BTreeMap<i64, String> {
    let own = Scalar::ALL.iter().flat_map(|scalar| {
        let name = scalar.standard_name();
        [(i64::from(scalar.oid()), name.to_owned()), (i64::from(scalar.array_oid()), format!("{name}[]"))]
    });
    let others = OTHER_TYPES.iter().map(|(oid, name, _)| {
        let name = match *name {
            "varchar" => "character varying",
            "bpchar" => "character",
            "char" => "\"char\"",
            name => name,
        };
        (i64::from(*oid), name.to_owned())
    });
    own.chain(others).collect()
}

/// Number of a type by any of its names.
pub(super) fn type_oid(name: &str) -> Option<i32> {
    let own = Scalar::ALL.iter().find(|scalar| [scalar.name(), scalar.standard_name()].contains(&name));
    let other = || OTHER_TYPES.iter().find(|(_, known, _)| *known == name).map(|(oid, ..)| *oid);
    own.map(|scalar| scalar.oid().cast_signed()).or_else(other)
}

/// Numbers of types by their names.
pub(super) fn type_oids() -> BTreeMap<String, i32> {
    let own = Scalar::ALL.iter().flat_map(|scalar| [scalar.name(), scalar.standard_name()]);
    let names = own.chain(OTHER_TYPES.iter().map(|(_, name, _)| *name));
    names.filter_map(|name| Some((name.to_owned(), type_oid(name)?))).collect()
}

/// Number of the type of arrays of `name`.
pub(super) fn array_oid(name: &str) -> Option<u32> {
    let own = Scalar::ALL.iter().find(|scalar| [scalar.name(), scalar.standard_name()].contains(&name));
    let other = || column::OTHER_ARRAYS.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid);
    own.map(|scalar| scalar.array_oid()).or_else(other)
}

/// Name of a type's function: some have an underscore in between.
fn function(name: &str, what: &str) -> String {
    let is_apart =
        ["date", "interval", "json", "jsonb", "numeric", "time", "timestamp", "timestamptz", "uuid", "void"];
    format!("{name}{}{what}", if is_apart.contains(&name) { "_" } else { "" })
}

/// A row: its values by column.
type Row = Vec<(&'static str, ScalarValue)>;

fn i(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}

fn h(value: i16) -> ScalarValue {
    ScalarValue::Int16(Some(value))
}

fn t(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

fn yes() -> ScalarValue {
    ScalarValue::Boolean(Some(true))
}

fn null(ty: &DataType) -> Result<ScalarValue> {
    Ok(ScalarValue::try_new_null(ty)?)
}

fn empty(specs: &[(&str, &str)]) -> Result<BTreeMap<String, RecordBatch>> {
    specs.iter().map(|(name, spec)| Ok(((*name).to_owned(), table(spec, &[])?))).collect()
}

/// The relation with these columns and rows.
fn table(spec: &str, rows: &[Row]) -> Result<RecordBatch> {
    let list = |item| DataType::List(std::sync::Arc::new(Field::new_list_field(item, true)));
    let field = |column: &str| {
        let (name, ty) = column.split_once(':').unwrap_or((column, "t"));
        let ty = match ty {
            "i" => DataType::Int32,
            "l" => DataType::Int64,
            "h" => DataType::Int16,
            "b" => DataType::Boolean,
            "f" => DataType::Float32,
            "T" => list(DataType::Utf8),
            "H" => list(DataType::Int16),
            "I" => list(DataType::Int32),
            _ => DataType::Utf8,
        };
        Field::new(name, ty, true)
    };
    let fields: Vec<Field> = spec.split_whitespace().map(field).collect();
    let unknown = |row: &Row| row.iter().any(|(name, _)| !fields.iter().any(|field| field.name() == name));
    if rows.iter().any(unknown) {
        return Err(Error::internal(format!("a row names a column that is not in {spec}")));
    }
    let column = |field: &Field| {
        if rows.is_empty() {
            return Ok(new_empty_array(field.data_type()));
        }
        let default = match field.data_type() {
            DataType::Utf8 | DataType::List(_) => null(field.data_type())?,
            ty => ScalarValue::new_zero(ty).or_else(|_| {
                null(ty).map_err(|_| datafusion::error::DataFusionError::Internal(ty.to_string()))
            })?,
        };
        let value = |row: &Row| {
            row.iter().find(|(name, _)| name == field.name()).map_or(default.clone(), |(_, v)| v.clone())
        };
        Ok::<_, Error>(ScalarValue::iter_to_array(rows.iter().map(value))?)
    };
    let columns = fields.iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(std::sync::Arc::new(Schema::new(fields)), columns, &options)?)
}

fn of_catalog_itself(relations: &[Relation]) -> Result<Vec<(String, RecordBatch)>> {
    let schemas =
        [(PG_CATALOG_OID, PG_CATALOG), (PUBLIC_OID, "public"), (INFORMATION_SCHEMA_OID, INFORMATION_SCHEMA)];
    let namespace =
        |(oid, name): &(i32, &str)| vec![("oid", i(*oid)), ("nspname", t(name)), ("nspowner", i(OWNER))];
    let tables = relations.iter().filter(|relation| !relation.is_view).map(|relation| {
        vec![("schemaname", t("public")), ("tablename", t(&relation.name)), ("tableowner", t(DATABASE))]
    });
    let views = relations.iter().filter(|relation| relation.is_view).map(|relation| {
        vec![
            ("schemaname", t("public")),
            ("viewname", t(&relation.name)),
            ("viewowner", t(DATABASE)),
            ("definition", t("")),
        ]
    });
    let named = |name: &str, spec: &str, rows: Vec<Row>| Ok((name.to_owned(), table(spec, &rows)?));
    let tablespace = vec![("oid", i(TABLESPACE_OID)), ("spcname", t("pg_default")), ("spcowner", i(OWNER))];
    let heap = vec![
        ("oid", i(HEAP_OID)),
        ("amname", t("heap")),
        ("amhandler", t("heap_tableam_handler")),
        ("amtype", t("t")),
    ];
    let user = vec![("usename", t(DATABASE)), ("usesysid", i(OWNER))];
    [
        named("pg_namespace", "oid:i nspname:t nspowner:i nspacl:T", schemas.iter().map(namespace).collect()),
        named("pg_class", PG_CLASS, relations.iter().map(class).collect()),
        named("pg_attribute", PG_ATTRIBUTE, relations.iter().flat_map(attributes).collect()),
        named("pg_type", PG_TYPE, types()),
        named("pg_tables", "schemaname:t tablename:t tableowner:t tablespace:t hasindexes:b hasrules:b hastriggers:b rowsecurity:b", tables.collect()),
        named("pg_views", "schemaname:t viewname:t viewowner:t definition:t", views.collect()),
        named("pg_roles", PG_ROLES, vec![role()]),
        named("pg_authid", PG_ROLES, vec![role()]),
        named("pg_auth_members", "oid:i roleid:i member:i grantor:i admin_option:b", Vec::new()),
        named("pg_user", "usename:t usesysid:i usecreatedb:b usesuper:b userepl:b usebypassrls:b passwd:t", vec![user]),
        named("pg_group", "groname:t grosysid:i grolist:I", Vec::new()),
        named("pg_database", PG_DATABASE, vec![database()]),
        named("pg_tablespace", "oid:i spcname:t spcowner:i spcacl:T spcoptions:T", vec![tablespace]),
        named("pg_am", "oid:i amname:t amhandler:t amtype:t", vec![heap]),
        named("pg_settings", "name:t setting:t unit:t category:t short_desc:t context:t vartype:t source:t min_val:t max_val:t enumvals:T boot_val:t reset_val:t", Vec::new()),
    ]
    .into_iter()
    .collect()
}

fn role() -> Row {
    vec![
        ("oid", i(OWNER)),
        ("rolname", t(DATABASE)),
        ("rolinherit", yes()),
        ("rolcanlogin", yes()),
        ("rolconnlimit", i(-1)),
    ]
}

fn database() -> Row {
    vec![
        ("oid", i(DATABASE_OID)),
        ("datname", t(DATABASE)),
        ("datdba", i(OWNER)),
        ("encoding", i(6)),
        ("datlocprovider", t("c")),
        ("datallowconn", yes()),
        ("datconnlimit", i(-1)),
        ("dattablespace", i(TABLESPACE_OID)),
        ("datcollate", t("C")),
        ("datctype", t("C")),
    ]
}

fn class(relation: &Relation) -> Row {
    vec![
        ("oid", i(relation.oid)),
        ("relname", t(&relation.name)),
        ("relnamespace", i(PUBLIC_OID)),
        ("relowner", i(OWNER)),
        ("relam", i(if relation.is_view { 0 } else { HEAP_OID })),
        ("reltuples", ScalarValue::Float32(Some(-1.0))),
        ("relpersistence", t("p")),
        ("relkind", t(if relation.is_view { "v" } else { "r" })),
        ("relnatts", h(relation.columns.len() as i16)),
        ("relispopulated", yes()),
        ("relreplident", t("n")),
    ]
}

fn attributes(relation: &Relation) -> Vec<Row> {
    let attribute = |(number, (name, kind)): (i16, &(String, Kind))| {
        vec![
            ("attrelid", i(relation.oid)),
            ("attname", t(name)),
            ("atttypid", i(kind.oid().cast_signed())),
            ("attstattarget", i(-1)),
            ("attlen", h(kind.size())),
            ("attnum", h(number)),
            ("attndims", i(kind.is_array.into())),
            ("attcacheoff", i(-1)),
            ("atttypmod", i(-1)),
            ("attstorage", t("x")),
            ("attalign", t("i")),
            ("attcompression", t("")),
            ("attidentity", t("")),
            ("attgenerated", t("")),
            ("attislocal", yes()),
        ]
    };
    (1..).zip(&relation.columns).map(attribute).collect()
}

fn types() -> Vec<Row> {
    let single = |oid: i32, name: &str, size: i16, category: &str, array: i32| {
        vec![
            ("oid", i(oid)),
            ("typname", t(name)),
            ("typnamespace", i(PG_CATALOG_OID)),
            ("typowner", i(OWNER)),
            ("typlen", h(size)),
            ("typtype", t(if category == "P" { "p" } else { "b" })),
            ("typcategory", t(category)),
            ("typisdefined", yes()),
            ("typdelim", t(",")),
            ("typarray", i(array)),
            ("typinput", t(&function(name, "in"))),
            ("typoutput", t(&function(name, "out"))),
            ("typreceive", t(&function(name, "recv"))),
            ("typsend", t(&function(name, "send"))),
            ("typalign", t("i")),
            ("typstorage", t("p")),
            ("typtypmod", i(-1)),
        ]
    };
    let mut rows: Vec<Row> = Vec::new();
    for scalar in Scalar::ALL {
        let (oid, array) = (scalar.oid().cast_signed(), scalar.array_oid().cast_signed());
        rows.push(single(oid, scalar.name(), scalar.size(), category(*scalar), array));
        let mut list = single(array, &format!("_{}", scalar.name()), -1, "A", 0);
        list.retain(|(name, _)| !["typinput", "typoutput", "typreceive", "typsend"].contains(name));
        list.extend([
            ("typelem", i(oid)),
            ("typinput", t("array_in")),
            ("typoutput", t("array_out")),
            ("typreceive", t("array_recv")),
            ("typsend", t("array_send")),
        ]);
        rows.push(list);
    }
    rows.extend(OTHER_TYPES.iter().map(|(oid, name, category)| single(*oid, name, -1, category, 0)));
    rows
}

fn category(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Bool => "B",
        Scalar::Int2 | Scalar::Int4 | Scalar::Int8 | Scalar::Float4 | Scalar::Float8 | Scalar::Numeric => "N",
        Scalar::Text => "S",
        Scalar::Date | Scalar::Time | Scalar::Timestamp | Scalar::Timestamptz => "D",
        Scalar::Interval => "T",
        Scalar::Bytea | Scalar::Json => "U",
    }
}

fn of_standard_itself(relations: &[Relation]) -> Result<Vec<(String, RecordBatch)>> {
    let schema = |name: &&str| {
        vec![("catalog_name", t(DATABASE)), ("schema_name", t(name)), ("schema_owner", t(DATABASE))]
    };
    let table_row = |relation: &Relation| {
        vec![
            ("table_catalog", t(DATABASE)),
            ("table_schema", t("public")),
            ("table_name", t(&relation.name)),
            ("table_type", t(if relation.is_view { "VIEW" } else { "BASE TABLE" })),
            ("is_insertable_into", t("NO")),
            ("is_typed", t("NO")),
        ]
    };
    let views = relations.iter().filter(|relation| relation.is_view).map(|relation| {
        vec![
            ("table_catalog", t(DATABASE)),
            ("table_schema", t("public")),
            ("table_name", t(&relation.name)),
            ("is_updatable", t("NO")),
        ]
    });
    let named = |name: &str, spec: &str, rows: Vec<Row>| Ok((name.to_owned(), table(spec, &rows)?));
    [
        named("schemata", "catalog_name:t schema_name:t schema_owner:t", ["public", PG_CATALOG, INFORMATION_SCHEMA].iter().map(schema).collect()),
        named("tables", "table_catalog:t table_schema:t table_name:t table_type:t self_referencing_column_name:t reference_generation:t user_defined_type_catalog:t user_defined_type_schema:t user_defined_type_name:t is_insertable_into:t is_typed:t commit_action:t", relations.iter().map(table_row).collect()),
        named("views", "table_catalog:t table_schema:t table_name:t view_definition:t check_option:t is_updatable:t", views.collect()),
        named("columns", COLUMNS, relations.iter().flat_map(standard_columns).collect()),
        named("information_schema_catalog_name", "catalog_name:t", vec![vec![("catalog_name", t(DATABASE))]]),
    ]
    .into_iter()
    .collect()
}

fn standard_columns(relation: &Relation) -> Vec<Row> {
    let none = ScalarValue::Int32(None);
    let column = |(number, (name, kind)): (i32, &(String, Kind))| {
        let data_type = if kind.is_array { "ARRAY" } else { kind.scalar.standard_name() };
        let udt =
            if kind.is_array { format!("_{}", kind.scalar.name()) } else { kind.scalar.name().to_owned() };
        vec![
            ("table_catalog", t(DATABASE)),
            ("table_schema", t("public")),
            ("table_name", t(&relation.name)),
            ("column_name", t(name)),
            ("ordinal_position", i(number)),
            ("is_nullable", t("YES")),
            ("data_type", t(data_type)),
            ("character_maximum_length", none.clone()),
            ("character_octet_length", none.clone()),
            ("numeric_precision", none.clone()),
            ("numeric_precision_radix", none.clone()),
            ("numeric_scale", none.clone()),
            ("datetime_precision", none.clone()),
            ("udt_catalog", t(DATABASE)),
            ("udt_schema", t(PG_CATALOG)),
            ("udt_name", t(&udt)),
            ("dtd_identifier", t(&number.to_string())),
            ("is_self_referencing", t("NO")),
            ("is_identity", t("NO")),
            ("is_generated", t("NEVER")),
            ("is_updatable", t("NO")),
        ]
    };
    (1..).zip(&relation.columns).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_can_be_made() {
        let relation = Relation {
            oid: 16_384,
            name: "events".to_owned(),
            is_view: false,
            columns: vec![("http.route".to_owned(), Kind::single(Scalar::Text))],
        };
        let tables = Tables::new(&[relation]).unwrap();
        assert_eq!(tables.of(PG_CATALOG).count(), EMPTY.len() + 15);
        assert_eq!(tables.of(INFORMATION_SCHEMA).count(), EMPTY_OF_STANDARD.len() + 5);
        assert_eq!(tables.oids()["events"], 16_384);
        assert!(tables.is_empty(PG_CATALOG, "pg_index") && !tables.is_empty(PG_CATALOG, "pg_class"));
        assert_eq!(type_oid("bigint"), Some(20));
        assert_eq!(type_names()[&1009], "text[]");
    }

    #[test]
    fn a_row_has_only_columns_of_its_relation() {
        assert!(table("a:i", &[vec![("b", i(1))]]).is_err());
    }
}
