//! Backends by URL.

use semel_core::{Backend, StoreError};

/// Why a backend cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no store that this program knows.
    #[error(
        "`{prefix}` names no store that this program knows; write for example `sqlite:shop.db` for \
         a file in this folder, `sqlite:/var/lib/shop.db`, or `postgres://USER@HOST/DATABASE`"
    )]
    Url {
        /// The URL up to its first colon: the rest may hold a password.
        prefix: String,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the backend at `url`, and makes it if there is none.
///
/// | URL | with the feature | backend |
/// |---|---|---|
/// | `sqlite:PATH` | `sqlite` | a file |
/// | `postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=SCHEMA` | `postgres` | a schema, by default `semel` |
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("semel-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("shop.db").display().to_string();
/// let backend = semel::open(&format!("sqlite:{path}")).await?;
/// # drop(backend);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(()) }
/// ```
pub async fn open(url: &str) -> Result<Backend, OpenError> {
    dispatch(url, Access::MayCreate).await
}

/// Opens the backend at `url`, which must exist: for programs that look.
pub async fn open_existing(url: &str) -> Result<Backend, OpenError> {
    dispatch(url, Access::MustExist).await
}

#[derive(Clone, Copy)]
enum Access {
    MayCreate,
    MustExist,
}

async fn dispatch(url: &str, access: Access) -> Result<Backend, OpenError> {
    match url.split_once(':') {
        #[cfg(feature = "sqlite")]
        Some(("sqlite", path)) if !path.is_empty() => {
            use semel_sqlite::{Missing, Options, Sqlite};
            let missing = match access {
                Access::MayCreate => Missing::Create,
                Access::MustExist => Missing::Refuse,
            };
            // `sqlite:///x` and `sqlite:/x` both mean the file `/x`.
            let path = path.strip_prefix("//").unwrap_or(path);
            let file = Sqlite::open_with(path, Options { missing, ..Options::default() })?;
            Ok(Backend::in_one(std::sync::Arc::new(file)))
        }
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => {
            use semel_postgres::{Options, Postgres, Tables};
            let (address, schema) = split_schema(url);
            let mut options = Options::default();
            options.schema = schema.unwrap_or(options.schema);
            if let Access::MustExist = access {
                options.tables = Tables::Check;
            }
            let database = Postgres::connect_with(&address, options).await?;
            Ok(Backend::in_one(std::sync::Arc::new(database)))
        }
        _ => {
            let _ = access;
            let prefix = url.split_inclusive(':').next().unwrap_or_default().to_owned();
            Err(OpenError::Url { prefix })
        }
    }
}

/// The URL without its parameter `schema`, and that.
#[cfg(feature = "postgres")]
fn split_schema(url: &str) -> (String, Option<String>) {
    let Some((address, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (own, others): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|parameter| parameter.starts_with("schema="));
    let schema = own.last().and_then(|parameter| parameter.strip_prefix("schema="));
    let rest = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    (format!("{address}{rest}"), schema.map(str::to_owned))
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::split_schema;

    #[test]
    fn a_schema_is_ours_and_other_parameters_are_the_servers() {
        let split = |url| split_schema(url);
        let schema = |name: &str| Some(name.to_owned());
        assert_eq!(split("postgres://h/d"), ("postgres://h/d".to_owned(), None));
        assert_eq!(split("postgres://h/d?schema=a"), ("postgres://h/d".to_owned(), schema("a")));
        assert_eq!(
            split("postgres://h/d?sslmode=disable&schema=a&connect_timeout=3"),
            ("postgres://h/d?sslmode=disable&connect_timeout=3".to_owned(), schema("a"))
        );
    }
}
