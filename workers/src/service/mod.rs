//! How a worker speaks of itself: what it is doing ([`Progress`]) and the four endpoints that say so.

mod http;
mod progress;
mod troubles;

pub use http::serve;
pub use progress::Progress;
pub use troubles::{ToMend, Troubles};
