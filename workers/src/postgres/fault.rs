//! What an error of PostgreSQL means: one match from SQLSTATE to what to do.

use std::time::Duration;

use crate::secrets::SecretMissing;

/// An error while working with a PostgreSQL store. Its text never holds a password.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The server could not be reached, or refused the connection.
    #[error("cannot connect to PostgreSQL at {at}: {}{}", text(source), hint(source))]
    Connect {
        /// `host:port/database`.
        at: String,
        /// What the driver says.
        #[source]
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("{call}: {}{}", text(source), hint(source))]
    Statement {
        /// What was being done.
        call: String,
        /// What the server says.
        #[source]
        source: sqlx::Error,
    },
    /// No answer in time.
    #[error("{call}: no answer within {} s", after.as_secs())]
    Deadline {
        /// What was being done.
        call: String,
        /// The time it was given.
        after: Duration,
    },
    /// Another writer has claimed a partition of this one's.
    #[error("another worker has taken over a partition of {stage}; asking the group who has it")]
    Fenced {
        /// The stage.
        stage: String,
    },
    /// A change event has fields that the mirror's table doesn't.
    #[error("events in topic {topic} have the new fields `{names}`; reading the source's catalogue again")]
    NewColumns {
        /// The topic.
        topic: String,
        /// The fields.
        names: String,
    },
    /// The credentials are not there.
    #[error(transparent)]
    Secret(#[from] SecretMissing),
}

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The rows are at fault: bisect, and put the bad ones to the dead letters.
    Poison,
    /// Somebody else holds a lock: the claimer may end them.
    Locked,
    /// The server is at fault for the moment: connect again and repeat.
    Retry,
    /// The table, the rights or the settings are at fault: wait, say so, and repeat slowly.
    Setup,
}

impl PostgresError {
    /// A failed connection attempt.
    pub fn connecting(at: String, source: sqlx::Error) -> Self {
        Self::Connect { at, source }
    }

    /// For `map_err`: a statement failed while doing `call`.
    pub fn during(call: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Statement { call: call.into(), source }
    }

    /// The SQLSTATE, where the server gave one.
    pub fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } | Self::Statement { source, .. } => {
                Some(source.as_database_error()?.code()?.into_owned())
            }
            _ => None,
        }
    }

    /// What to do about it.
    pub fn meaning(&self) -> Meaning {
        match self {
            Self::Statement { .. } => self.sqlstate().map_or(Meaning::Retry, |code| meaning_of(&code)),
            Self::Connect { .. } => match self.sqlstate().map(|code| meaning_of(&code)) {
                Some(Meaning::Setup) => Meaning::Setup,
                _ => Meaning::Retry,
            },
            Self::Deadline { .. } | Self::Fenced { .. } | Self::NewColumns { .. } => Meaning::Retry,
            Self::Secret(_) => Meaning::Setup,
        }
    }
}

/// SQLSTATE classes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn meaning_of(code: &str) -> Meaning {
    match code {
        "55P03" => Meaning::Locked,
        // ON CONFLICT met the same key twice: it is in two partitions.
        "21000" => Meaning::Poison,
        // 53 and 57 are a server that is full, starting or stopping; 40 a conflict; 08 and 58 a broken line or disk.
        _ => match code.get(..2) {
            Some("22" | "23") => Meaning::Poison,
            Some("08" | "40" | "53" | "55" | "57" | "58" | "XX") => Meaning::Retry,
            _ => Meaning::Setup,
        },
    }
}

fn text(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            format!("{} (SQLSTATE {code})", database.message())
        }
        other => other.to_string(),
    }
}

fn hint(error: &sqlx::Error) -> &'static str {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
    match code.as_ref() {
        "28000" => {
            "; let the store's user log in (ALTER ROLE … LOGIN), or admit it in the server's pg_hba.conf"
        }
        "28P01" => "; check `username` and `password` in the store's credentialsSecret",
        "3D000" => "; create the database, or mend `database` of the store",
        "42P01" => "; create the table, or mend its name",
        "42501" => "; grant the store's user what it needs",
        "53300" => "; the server has no connection left: raise max_connections or close some",
        _ => match error {
            sqlx::Error::Io(_) => "; check the store's host and port and that the server runs",
            _ => "",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bad_rows_are_poison() {
        for code in ["22001", "22003", "22P02", "23505", "23502"] {
            assert_eq!(meaning_of(code), Meaning::Poison, "{code}");
        }
        for code in ["08006", "40001", "53100", "57P01", "55006"] {
            assert_eq!(meaning_of(code), Meaning::Retry, "{code}");
        }
        for code in ["42P01", "42501", "28P01", "3D000"] {
            assert_eq!(meaning_of(code), Meaning::Setup, "{code}");
        }
        assert_eq!(meaning_of("55P03"), Meaning::Locked);
    }
}
