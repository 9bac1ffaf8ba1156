//! What the container grants, turned into a plan: how much memory each part may take, how many
//! connections fit, how many threads pay.
//!
//! ```
//! use sampan_container::{Grant, Plan};
//!
//! let plan = Plan::new(Grant { memory_bytes: Some(512 << 20), cores: 2 });
//! assert_eq!(plan.max_connections, 5734);
//! ```

mod cgroup;
mod plan;
mod usage;

pub use plan::{Grant, Plan};
pub use usage::{Usage, UsageMeter};
