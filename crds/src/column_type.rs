//! The types a PostgreSQL column of a sink may have.

use std::fmt;

/// A type of a column that Acequia creates and fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `boolean`
    Bool,
    /// `smallint`, 2 bytes
    SmallInt,
    /// `integer`, 4 bytes
    Integer,
    /// `bigint`, 8 bytes
    BigInt,
    /// `real`, 4 bytes
    Real,
    /// `double precision`, 8 bytes
    Double,
    /// `numeric`, exact, with the precision and scale if they were given
    Numeric(Option<Precision>),
    /// `text`
    Text,
    /// `varchar(n)`, at most that many characters
    Varchar(Option<u32>),
    /// `char(n)`, filled up with spaces to that many characters
    Char(u32),
    /// `uuid`
    Uuid,
    /// `date`
    Date,
    /// `time`, without a zone
    Time,
    /// `timestamp`, without a zone
    Timestamp,
    /// `timestamptz`, an instant
    Timestamptz,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `bytea`
    Bytea,
}

/// How many digits a `numeric` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Precision {
    /// All digits: 1 to 1000.
    pub digits: u16,
    /// Those after the point: 0 to `digits`.
    pub scale: u16,
}

/// A text that names no type of a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {fix}")]
pub struct UnknownColumnType {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// All spellings, for messages.
const SPELLINGS: &[&str] = &[
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric(12,2)",
    "text",
    "varchar(80)",
    "char(2)",
    "uuid",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "json",
    "jsonb",
    "bytea",
];

impl ColumnType {
    /// Reads a type as PostgreSQL spells it, aliases included, whatever the case.
    ///
    /// # Errors
    /// It is no such type, or its size is out of range.
    pub fn parse(text: &str) -> Result<Self, UnknownColumnType> {
        let lower = text.trim().to_ascii_lowercase();
        let (name, sizes) = match lower.split_once('(') {
            None => (lower.clone(), Vec::new()),
            Some((name, rest)) => {
                let (inside, after) = rest.split_once(')').ok_or_else(|| unknown(text))?;
                let sizes = inside
                    .split(',')
                    .map(|size| size.trim().parse::<u32>())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| unknown(text))?;
                // `timestamp(3) with time zone` names the zone after the size.
                (format!("{} {after}", name.trim()), sizes)
            }
        };
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        match sizes.as_slice() {
            [] => Self::plain(&name),
            sizes => Self::sized(&name, sizes, text)?,
        }
        .ok_or_else(|| unknown(text))
    }

    fn plain(name: &str) -> Option<Self> {
        Some(match name {
            "bool" | "boolean" => Self::Bool,
            "smallint" | "int2" => Self::SmallInt,
            "integer" | "int" | "int4" => Self::Integer,
            "bigint" | "int8" => Self::BigInt,
            "real" | "float4" => Self::Real,
            "double precision" | "double" | "float8" | "float" => Self::Double,
            "numeric" | "decimal" => Self::Numeric(None),
            "text" => Self::Text,
            "varchar" | "character varying" => Self::Varchar(None),
            "char" | "character" | "bpchar" => Self::Char(1),
            "uuid" => Self::Uuid,
            "date" => Self::Date,
            "time" | "time without time zone" => Self::Time,
            "timestamp" | "timestamp without time zone" => Self::Timestamp,
            "timestamptz" | "timestamp with time zone" => Self::Timestamptz,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "bytea" => Self::Bytea,
            _ => return None,
        })
    }

    fn sized(name: &str, sizes: &[u32], text: &str) -> Result<Option<Self>, UnknownColumnType> {
        let range = |what: &str, range: std::ops::RangeInclusive<u32>, size: u32| {
            if range.contains(&size) {
                return Ok(size);
            }
            Err(UnknownColumnType {
                message: format!("`{text}`: {what} is {size}"),
                fix: format!("write one from {} to {}", range.start(), range.end()),
            })
        };
        Ok(Some(match (name, sizes) {
            ("numeric" | "decimal", [digits]) => Self::Numeric(Some(Precision {
                digits: range("the precision", 1..=1000, *digits)? as u16,
                scale: 0,
            })),
            ("numeric" | "decimal", [digits, scale]) => {
                let digits = range("the precision", 1..=1000, *digits)?;
                let scale = range("the scale", 0..=digits, *scale)?;
                Self::Numeric(Some(Precision { digits: digits as u16, scale: scale as u16 }))
            }
            ("varchar" | "character varying", [length]) => {
                Self::Varchar(Some(range("the length", 1..=10_485_760, *length)?))
            }
            ("char" | "character" | "bpchar", [length]) => {
                Self::Char(range("the length", 1..=10_485_760, *length)?)
            }
            (
                "time"
                | "timestamp"
                | "timestamptz"
                | "timestamp with time zone"
                | "timestamp without time zone",
                [_],
            ) => {
                return Err(UnknownColumnType {
                    message: format!("`{text}` limits the digits of the seconds"),
                    fix: format!(
                        "write `{}`, which keeps microseconds",
                        name.replace("timestamp with time zone", "timestamptz")
                    ),
                });
            }
            _ => return Ok(None),
        }))
    }

    /// The type as it stands in `CREATE TABLE`.
    pub fn sql(&self) -> String {
        match self {
            Self::Bool => "boolean".to_owned(),
            Self::SmallInt => "smallint".to_owned(),
            Self::Integer => "integer".to_owned(),
            Self::BigInt => "bigint".to_owned(),
            Self::Real => "real".to_owned(),
            Self::Double => "double precision".to_owned(),
            Self::Numeric(None) => "numeric".to_owned(),
            Self::Numeric(Some(precision)) => format!("numeric({},{})", precision.digits, precision.scale),
            Self::Text => "text".to_owned(),
            Self::Varchar(None) => "character varying".to_owned(),
            Self::Varchar(Some(length)) => format!("character varying({length})"),
            Self::Char(length) => format!("character({length})"),
            Self::Uuid => "uuid".to_owned(),
            Self::Date => "date".to_owned(),
            Self::Time => "time without time zone".to_owned(),
            Self::Timestamp => "timestamp without time zone".to_owned(),
            Self::Timestamptz => "timestamp with time zone".to_owned(),
            Self::Json => "json".to_owned(),
            Self::Jsonb => "jsonb".to_owned(),
            Self::Bytea => "bytea".to_owned(),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sql())
    }
}

fn unknown(text: &str) -> UnknownColumnType {
    let meant = match text.trim().to_ascii_lowercase().as_str() {
        "string" | "str" => Some("text"),
        "datetime" => Some("timestamptz"),
        "number" | "money" => Some("numeric(12,2)"),
        "serial" => Some("integer"),
        "bigserial" | "long" => Some("bigint"),
        "blob" | "binary" => Some("bytea"),
        lower => SPELLINGS
            .iter()
            .map(|spelling| (strsim::damerau_levenshtein(lower, spelling), *spelling))
            .min()
            .filter(|(distance, _)| *distance <= lower.len().div_ceil(3))
            .map(|(_, spelling)| spelling),
    };
    UnknownColumnType {
        message: format!("there is no column type `{text}`"),
        fix: match meant {
            Some(spelling) => format!("did you mean `{spelling}`?"),
            None => format!("the types are {}", SPELLINGS.join(", ")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_parses_from_its_own_sql_again() {
        for spelling in SPELLINGS {
            let parsed = ColumnType::parse(spelling).unwrap();
            assert_eq!(ColumnType::parse(&parsed.sql()), Ok(parsed), "{spelling}");
        }
    }

    #[test]
    fn aliases_and_spaces_and_case_do_not_matter() {
        for (text, expected) in [
            ("INT8", ColumnType::BigInt),
            (" double   precision ", ColumnType::Double),
            ("decimal( 10 , 4 )", ColumnType::Numeric(Some(Precision { digits: 10, scale: 4 }))),
            ("numeric(5)", ColumnType::Numeric(Some(Precision { digits: 5, scale: 0 }))),
            ("Timestamp With Time Zone", ColumnType::Timestamptz),
            ("character varying(3)", ColumnType::Varchar(Some(3))),
            ("char", ColumnType::Char(1)),
        ] {
            assert_eq!(ColumnType::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_wrong_type_is_refused_with_the_one_that_was_meant() {
        for (text, message) in [
            ("strng", "there is no column type `strng`; the types are boolean"),
            ("string", "there is no column type `string`; did you mean `text`?"),
            ("jsnob", "there is no column type `jsnob`; did you mean `json"),
            ("numeric(2,3)", "`numeric(2,3)`: the scale is 3; write one from 0 to 2"),
            ("varchar(0)", "`varchar(0)`: the length is 0; write one from 1 to 10485760"),
            ("numeric(12", "there is no column type `numeric(12`; did you mean `numeric(12,2)`?"),
            ("text(3)", "there is no column type `text(3)`"),
            ("timestamp(3)", "`timestamp(3)` limits the digits of the seconds"),
            ("integer; DROP TABLE x", "there is no column type `integer; DROP TABLE x`; the types are"),
        ] {
            let error = ColumnType::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }
}
