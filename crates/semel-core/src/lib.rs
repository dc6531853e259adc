//! Messages, handlers, protocols and the host of Semel, without any adapter.
