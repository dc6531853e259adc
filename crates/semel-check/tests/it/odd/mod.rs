//! Worlds larger and odder than the others: messages in four copies, chains of three protocols and
//! answers to the sender, an edge that makes the first token, letters that are parked while someone
//! is still at them, and deployments that change more than a decision.

mod cast;
mod changed;
mod crowds;
mod leftovers;
