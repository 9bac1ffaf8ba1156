//! Reads the memory limit of a cgroup.
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

struct Group<'a> {
    mount: &'static str,
    file: &'static str,
    path: &'a str,
}

pub(crate) fn memory_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups
        .lines()
        .filter_map(Group::parse)
        .flat_map(|group| group.files(root))
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .filter(|limit| *limit < NO_LIMIT_V1)
        .min()
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, ':');
        let (_number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        if controllers.is_empty() {
            Some(Self {
                mount: "sys/fs/cgroup",
                file: "memory.max",
                path,
            })
        } else if controllers.split(',').any(|name| name == "memory") {
            Some(Self {
                mount: "sys/fs/cgroup/memory",
                file: "memory.limit_in_bytes",
                path,
            })
        } else {
            None
        }
    }

    /// The limit's file in this group and in each one around it.
    fn files(&self, root: &Path) -> Vec<PathBuf> {
        let mount = root.join(self.mount);
        // A path with `..` is of a group outside of the visible tree.
        let path = Path::new(self.path.trim_start_matches('/'));
        let is_visible = path.components().all(|part| part.as_os_str() != "..");
        path.ancestors()
            .filter(|group| is_visible || group.as_os_str().is_empty())
            .map(|group| mount.join(group).join(self.file))
            .collect()
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
        memory_limit(root.path())
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
