//! Exactly-once message processing without distributed transactions.
