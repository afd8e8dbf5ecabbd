//! What the encoder makes, read back from a real server. Needs `ACEQUIA_TEST_POSTGRES` (a `postgres://` URL).

use acequia_crds::pipeline::sink::Column;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::tests::{column, record};
use super::*;
use crate::postgres::copy::{HEADER, TRAILER};
use crate::postgres::quote::identifier;

/// Column type, JSON value, and the text that the server shows for it.
const CASES: &[(&str, &str, &str)] = &[
    ("boolean", "true", "t"),
    ("smallint", "-32768", "-32768"),
    ("integer", "2147483647", "2147483647"),
    ("bigint", "-9223372036854775808", "-9223372036854775808"),
    ("real", "0.1", "0.1"),
    ("double precision", "0.30000000000000004", "0.30000000000000004"),
    ("double precision", "\"-Infinity\"", "-Infinity"),
    ("numeric", "0", "0"),
    ("numeric", "-0.000", "0.000"),
    ("numeric", "0.00001234", "0.00001234"),
    ("numeric", "10000", "10000"),
    (
        "numeric",
        "12345678901234567890123456789012345678.123456789",
        "12345678901234567890123456789012345678.123456789",
    ),
    ("numeric", "1.5e-7", "0.00000015"),
    ("numeric", "1e20", "100000000000000000000"),
    ("numeric", "\"NaN\"", "NaN"),
    ("numeric(12,2)", "19.994999", "19.99"),
    ("numeric(12,2)", "-19.995", "-20.00"),
    ("numeric(12,2)", "9999999999.99", "9999999999.99"),
    ("numeric(4,4)", "0.99994", "0.9999"),
    ("numeric(3,0)", "0.5", "1"),
    ("numeric(12,2)", "0.001", "0.00"),
    ("text", "\"q\\\"\\\\ \\ud83d\\ude00\"", "q\"\\ 😀"),
    ("varchar(3)", "\"abc   \"", "abc"),
    ("char(4)", "\"ab\"", "ab  "),
    ("uuid", "\"00112233445566778899AABBCCDDEEFF\"", "00112233-4455-6677-8899-aabbccddeeff"),
    ("date", "\"0001-01-01\"", "0001-01-01"),
    ("date", "\"+12026-11-22\"", "12026-11-22"),
    ("time", "\"23:59:59.999999\"", "23:59:59.999999"),
    ("timestamp", "\"2026-11-22 10:00:00.5\"", "2026-11-22 10:00:00.5"),
    ("timestamptz", "\"2026-11-22T10:00:00+02:00\"", "2026-11-22 08:00:00+00"),
    ("timestamptz", "1795341600123", "2026-11-22 10:00:00.123+00"),
    ("timestamptz", "\"infinity\"", "infinity"),
    ("timestamptz", "\"1890-03-01T00:00:00Z\"", "1890-03-01 00:00:00+00"),
    ("json", "{\"b\": [1 ], \"a\": \"\\u0000\"}", "{\"b\": [1 ], \"a\": \"\\u0000\"}"),
    ("jsonb", "{\"b\": [1 ], \"a\": null}", "{\"a\": null, \"b\": [1]}"),
    ("jsonb", "\"text\"", "\"text\""),
    ("jsonb", "[1e9999]", ""),
    ("bytea", "\"AP8=\"", "\\x00ff"),
];

#[tokio::test]
async fn the_server_reads_every_type_as_it_was_meant() {
    let Ok(url) = std::env::var("ACEQUIA_TEST_POSTGRES") else {
        eprintln!("skipped: ACEQUIA_TEST_POSTGRES isn't set");
        return;
    };
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("SET timezone = 'UTC'; SET extra_float_digits = 1").await.unwrap();
    let columns: Vec<Column> = CASES
        .iter()
        .enumerate()
        .map(|(index, (type_name, ..))| column(&format!("c{index}"), type_name))
        .collect();
    let plan = RowPlan::new(&columns).unwrap();
    let members: Vec<String> =
        CASES.iter().enumerate().map(|(index, (_, json, _))| format!("\"c{index}\": {json}")).collect();
    let mut out = CopyBuffer::default();
    plan.encode(&record(format!("{{{}}}", members.join(",")).as_bytes()), &mut out).unwrap();

    let definitions: Vec<String> =
        plan.columns().map(|column| format!("{} {}", identifier(column.name), column.type_sql)).collect();
    let create = format!("CREATE TEMPORARY TABLE t ({})", definitions.join(", "));
    connection.execute(AssertSqlSafe(create)).await.unwrap();
    let mut copy = connection.copy_in_raw("COPY t FROM STDIN (FORMAT binary)").await.unwrap();
    for part in [HEADER, out.rows(0, 1), TRAILER] {
        copy.send(part).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), 1);

    for (index, (type_name, json, expected)) in CASES.iter().enumerate() {
        // concat() shows a char(n) with its spaces, which a cast to text would cut.
        let select = format!("SELECT concat(c{index}), pg_typeof(c{index})::text FROM t");
        let row = connection.fetch_one(AssertSqlSafe(select)).await.unwrap();
        let shown: String = row.get(0);
        if !expected.is_empty() {
            assert_eq!(shown, *expected, "{type_name} {json}");
        }
    }
    let types = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
                 WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum";
    let shown = connection.fetch_all(types).await.unwrap();
    for (row, definition) in shown.iter().zip(plan.columns()) {
        assert_eq!(row.get::<String, _>(1), definition.type_sql, "as the catalogue shows it");
    }
}
