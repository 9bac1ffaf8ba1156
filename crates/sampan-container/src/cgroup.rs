//! Finds the cgroups of this process, and their memory limit.
//!
//! `/proc/self/cgroup` names the group: `0::/path` under v2, `9:memory:/path` under v1. A limit
//! of any group above holds too, so all are read up to the root. In a container the path is
//! often the host's and leads nowhere; then the root is the container's own group.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// v1 writes "no limit" as the largest multiple of the page size; nothing real comes near.
const NO_LIMIT_V1: u64 = 1 << 60;

/// The folder of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) path: PathBuf,
    pub(crate) is_v2: bool,
}

/// The groups of this process that a controller of v1, or v2 as a whole, has: its own first, then
/// those around it.
pub(crate) fn groups(root: &Path, controller: &str) -> Vec<Group> {
    let Ok(lines) = fs::read_to_string(root.join("proc/self/cgroup")) else {
        return Vec::new();
    };
    let lines = lines.lines();
    lines
        .flat_map(|line| Group::parse(line, root, controller))
        .collect()
}

/// The smallest memory limit, and the group that has it.
pub(crate) fn memory_limit(root: &Path) -> Option<(u64, Group)> {
    groups(root, "memory")
        .into_iter()
        .filter_map(|group| Some((group.memory_limit()?, group)))
        .min_by_key(|(limit, _)| *limit)
}

// === impl Group ===

impl Group {
    fn parse(line: &str, root: &Path, controller: &str) -> Vec<Self> {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            return Vec::new();
        };
        let is_v2 = controllers.is_empty();
        let mount = if is_v2 {
            root.join("sys/fs/cgroup")
        } else if controllers.split(',').any(|name| name == controller) {
            root.join("sys/fs/cgroup").join(controller)
        } else {
            return Vec::new();
        };
        // A path with `..` is of a group outside of the visible tree.
        let path = Path::new(path.trim_start_matches('/'));
        let is_visible = path.components().all(|part| part.as_os_str() != "..");
        path.ancestors()
            .filter(|group| is_visible || group.as_os_str().is_empty())
            .map(|group| Self {
                path: mount.join(group),
                is_v2,
            })
            .collect()
    }

    /// What a file of it says; v1 has another name for it.
    pub(crate) fn read(&self, v2: &str, v1: &str) -> Option<String> {
        let file = self.path.join(if self.is_v2 { v2 } else { v1 });
        fs::read_to_string(file).ok()
    }

    fn memory_limit(&self) -> Option<u64> {
        let text = self.read("memory.max", "memory.limit_in_bytes")?;
        let limit = text.trim().parse().ok()?;
        (limit < NO_LIMIT_V1).then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Some(memory_limit(root.path())?.0)
    }

    #[test]
    fn v2_takes_the_smallest_limit_on_the_way_up() {
        let files = [
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/memory.max", "536870912\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ];
        assert_eq!(limit(&files), Some(512 << 20));
    }

    #[test]
    fn v2_in_a_container_of_its_own_reads_the_root() {
        for path in ["0::/\n", "0::/../other\n", "0::/docker/not/mounted/here\n"] {
            let files = [
                ("proc/self/cgroup", path),
                ("sys/fs/cgroup/memory.max", "134217728\n"),
            ];
            assert_eq!(limit(&files), Some(128 << 20), "{path}");
        }
    }

    #[test]
    fn v1_reads_the_memory_controller_and_knows_its_no_limit() {
        let mut files = [
            (
                "proc/self/cgroup",
                "12:cpu,cpuacct:/x\n9:memory:/docker/1f\n0::/\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ];
        assert_eq!(limit(&files), Some(256 << 20));
        files[1].1 = "9223372036854771712\n";
        assert_eq!(limit(&files), None);
    }

    #[test]
    fn without_cgroups_or_with_nonsense_there_is_no_limit() {
        assert_eq!(limit(&[]), None);
        let files = [
            ("proc/self/cgroup", "nonsense\n0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "much\n"),
        ];
        assert_eq!(limit(&files), None);
    }
}
