//! What PostgreSQL's errors mean, and what to do about them.

use deadpool_postgres::PoolError;
use semel_core::StoreError;
use semel_core::store::Trouble;
use tokio_postgres::error::SqlState;

/// What our function `require` raises.
const CONDITION: &str = "SM001";

/// Whether a failed transaction may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It surely was not.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

/// Why a call on the server failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A condition of a batch does not hold: the server undid it.
    Condition,
    /// The server undid it for the sake of another transaction; again, it may succeed.
    Again(StoreError),
    /// The server undid it because another transaction holds its rows for long.
    Locked(StoreError),
    /// Any other error.
    Failed { error: StoreError, certainty: Certainty },
}

impl Fault {
    pub(crate) fn into_error(self, place: &str, operation: &'static str) -> StoreError {
        match self {
            Self::Again(error) | Self::Locked(error) | Self::Failed { error, .. } => error,
            Self::Condition => new(
                place,
                Trouble::Broken,
                operation,
                "a condition failed where none was made",
                "This is a defect in Semel; please report it.",
            ),
        }
    }
}

/// Translates an error that came in the middle of a transaction whose end was already on its way.
///
/// What the server reports as an error of a statement was undone: its end then undid the rest. But
/// an error that ends the session, or no answer at all, tells nothing.
pub(crate) fn fault(place: &str, operation: &'static str, error: &tokio_postgres::Error) -> Fault {
    let is_fatal = error.as_db_error().is_none_or(|db| {
        use tokio_postgres::error::Severity;
        !matches!(db.parsed_severity(), Some(Severity::Error))
    });
    let code = error.code();
    if !is_fatal {
        match code {
            Some(code) if code.code() == CONDITION => return Fault::Condition,
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => {
                return Fault::Again(translate(place, operation, error));
            }
            Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                return Fault::Locked(translate(place, operation, error));
            }
            _ => {}
        }
    }
    Fault::Failed {
        error: translate(place, operation, error),
        certainty: if is_fatal { Certainty::Unknown } else { Certainty::NotApplied },
    }
}

/// Translates an error of a connection that could not be had: nothing was asked yet.
pub(crate) fn no_connection(place: &str, operation: &'static str, error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => translate(place, operation, error),
        PoolError::Timeout(_) => new(
            place,
            Trouble::Unavailable,
            operation,
            "no connection could be had in time",
            "Look whether the server runs and has connections left (`max_connections`).",
        ),
        other => new(
            place,
            Trouble::Broken,
            operation,
            other.to_string(),
            "This is a defect in Semel; please report it.",
        ),
    }
}

/// Translates an error of the server, or of the way there.
pub(crate) fn translate(
    place: &str,
    operation: &'static str,
    error: &tokio_postgres::Error,
) -> StoreError {
    let (trouble, help) = if is_mistrust(error) {
        let help = "Name the authority's certificate in `Options::root_certificates`, and the host as \
            the server's certificate does.";
        (Trouble::Broken, help)
    } else {
        judge(error.code())
    };
    new(place, trouble, operation, reason(error), help)
}

/// An error about the database at `place`.
pub(crate) fn new(
    place: &str,
    trouble: Trouble,
    operation: &'static str,
    reason: impl Into<String>,
    help: &str,
) -> StoreError {
    let reason = reason.into();
    StoreError { trouble, store: place.to_owned(), operation, reason, help: help.to_owned() }
}

/// What the server said, or what happened on the way, with its causes.
fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} ({})", db.message(), db.code().code());
    }
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        cause = inner.source();
    }
    reason
}

/// Whether the server's certificate is not one that we trust.
fn is_mistrust(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        // The error of TLS comes inside one of input and output, which hides it from `source`.
        let hidden = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = hidden.and_then(|it| it.downcast_ref()).or_else(|| inner.downcast_ref());
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        cause = inner.source();
    }
    false
}

fn judge(code: Option<&SqlState>) -> (Trouble, &'static str) {
    let Some(code) = code else {
        return (
            Trouble::Unavailable,
            "Look whether the server runs and can be reached; work goes on by itself.",
        );
    };
    let class = code.code().get(..2).unwrap_or_default();
    match (class, code) {
        (_, &SqlState::READ_ONLY_SQL_TRANSACTION) => (
            Trouble::Unavailable,
            "This server only reads, as a replica does: name the primary, or wait until this one \
             takes over.",
        ),
        (_, &SqlState::DISK_FULL) => {
            (Trouble::Full, "Free some room on the server's disk; work goes on by itself.")
        }
        (_, &SqlState::PROGRAM_LIMIT_EXCEEDED) => {
            (Trouble::TooLarge, "Use shorter keys, or store less in one piece.")
        }
        (_, &SqlState::TOO_MANY_CONNECTIONS) => (
            Trouble::Unavailable,
            "Raise `max_connections` of the server, or lower `Options::connections_max`.",
        ),
        (_, &SqlState::LOCK_NOT_AVAILABLE) => (
            Trouble::Unavailable,
            "Another transaction holds rows of these items: look for an open one in \
             `pg_stat_activity`.",
        ),
        (_, &SqlState::INVALID_SQL_STATEMENT_NAME | &SqlState::DUPLICATE_PSTATEMENT) => (
            Trouble::Broken,
            "A pooler hands sessions on: use pgbouncer 1.21 or newer with \
             `max_prepared_statements` above zero, or its session mode.",
        ),
        (_, &SqlState::INSUFFICIENT_PRIVILEGE) => (
            Trouble::Broken,
            "Grant this role the use of Semel's tables: see `semel_postgres::grant_sql`.",
        ),
        (
            _,
            &SqlState::UNDEFINED_TABLE
            | &SqlState::UNDEFINED_COLUMN
            | &SqlState::UNDEFINED_FUNCTION
            | &SqlState::INVALID_SCHEMA_NAME,
        ) => (
            Trouble::Broken,
            "The tables are not as Semel made them: restore a backup, or undo the change.",
        ),
        ("28", _) => (Trouble::Broken, "Check user and password in the address."),
        ("3D", _) => (Trouble::Broken, "Check the name of the database, or create it."),
        // The server restarts, or is short of something that comes back.
        ("08" | "53" | "57" | "40" | "55" | "25", _) => {
            (Trouble::Unavailable, "Look at the server and its log; work goes on by itself.")
        }
        ("58" | "XX", _) => (Trouble::Broken, "Look at the server's log and its disk."),
        ("22", _) => (Trouble::Unsupported, "Mend the text that PostgreSQL cannot keep."),
        _ => (Trouble::Broken, "Look at the server's log; the tables may have been changed."),
    }
}

#[cfg(test)]
mod tests {
    use semel_core::store::Trouble;
    use tokio_postgres::error::SqlState;

    use super::judge;

    #[test]
    fn what_passes_by_itself_is_not_called_broken() {
        let passing = ["57P01", "57P03", "08006", "53300", "40001", "40P01", "55P03", "25006"];
        for code in passing {
            let (trouble, _) = judge(Some(&SqlState::from_code(code)));
            assert_eq!(trouble, Trouble::Unavailable, "{code}");
        }
        assert_eq!(judge(Some(&SqlState::DISK_FULL)).0, Trouble::Full);
        assert_eq!(judge(None).0, Trouble::Unavailable);
    }

    #[test]
    fn statements_that_a_pooler_lost_point_to_the_pooler() {
        for code in ["26000", "42P05"] {
            let (trouble, help) = judge(Some(&SqlState::from_code(code)));
            assert!(trouble == Trouble::Broken && help.contains("pgbouncer"), "{code}: {help}");
        }
    }

    #[test]
    fn what_a_person_must_mend_is_called_broken() {
        for code in ["28P01", "28000", "3D000", "42P01", "42501", "XX001"] {
            let (trouble, _) = judge(Some(&SqlState::from_code(code)));
            assert_eq!(trouble, Trouble::Broken, "{code}");
        }
    }
}
