//! The contracts of broker and operator.

use semel_conformance::suite;

use crate::rig::fresh;

suite!(broker, fresh());
suite!(operator, fresh());
