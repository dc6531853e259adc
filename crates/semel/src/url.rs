//! Backends by URL.

use semel_core::{Backend, StoreError};

/// Why a backend cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no store that this program knows.
    #[error(
        "`{prefix}` names no store that this program knows; write for example `sqlite:shop.db` for \
         a file in this folder, or `sqlite:/var/lib/shop.db`"
    )]
    Url {
        /// The URL up to its first colon: the rest may hold a password.
        prefix: String,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the backend at `url`, and makes it if there is none: `sqlite:PATH`.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("semel-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("shop.db").display().to_string();
/// let backend = semel::open(&format!("sqlite:{path}"))?;
/// # drop(backend);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(url: &str) -> Result<Backend, OpenError> {
    dispatch(url, Access::MayCreate)
}

/// Opens the backend at `url`, which must exist: for programs that look.
pub fn open_existing(url: &str) -> Result<Backend, OpenError> {
    dispatch(url, Access::MustExist)
}

#[derive(Clone, Copy)]
enum Access {
    MayCreate,
    MustExist,
}

fn dispatch(url: &str, access: Access) -> Result<Backend, OpenError> {
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
        _ => {
            let _ = access;
            let prefix = url.split_inclusive(':').next().unwrap_or_default().to_owned();
            Err(OpenError::Url { prefix })
        }
    }
}
