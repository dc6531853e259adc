//! Every contract, kept by places that offer everything, little, and something between.

mod rich {
    use crate::memory::{Character, MemoryRig};

    async fn open() -> MemoryRig {
        MemoryRig::new(Character::RICH)
    }

    semel_conformance::suite!(store, open());
    semel_conformance::suite!(broker, open());
    semel_conformance::suite!(operator, open());
    semel_conformance::suite!(queue_in_store, open());
}

mod middling {
    use crate::memory::{Character, MemoryRig};

    async fn open() -> MemoryRig {
        MemoryRig::new(Character::MIDDLING)
    }

    semel_conformance::suite!(store, open());
    semel_conformance::suite!(broker, open());
    semel_conformance::suite!(operator, open());
    semel_conformance::suite!(queue_in_store, open());
}

mod poor {
    use crate::memory::{Character, MemoryRig};

    async fn open() -> MemoryRig {
        MemoryRig::new(Character::POOR)
    }

    semel_conformance::suite!(store, open());
    semel_conformance::suite!(broker, open());
    semel_conformance::suite!(operator, open());
    semel_conformance::suite!(queue_in_store, open());
}
