//! The server on a real file, behind a real listener.

mod api;
mod rig;
mod stream;
