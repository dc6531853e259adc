//! Every contract, kept by places that offer everything, little, and something between.

macro_rules! place {
    ($name:ident, $character:ident) => {
        mod $name {
            use crate::memory::{Character, MemoryRig};

            async fn fresh() -> MemoryRig {
                MemoryRig::new(Character::$character)
            }

            semel_conformance::suite!(store, fresh());
            semel_conformance::suite!(broker, fresh());
            semel_conformance::suite!(operator, fresh());
            semel_conformance::suite!(queue_in_store, fresh());
        }
    };
}

place!(rich, RICH);
place!(middling, MIDDLING);
place!(poor, POOR);
