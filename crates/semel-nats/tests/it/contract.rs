//! The contracts of broker and operator, on a real server.

use semel_conformance::suite;

use crate::rig::fresh;

suite!(broker, fresh());
suite!(operator, fresh());
