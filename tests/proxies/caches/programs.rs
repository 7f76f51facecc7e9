//! The cache programs, on the files of `examples/caches`.

use std::path::Path;
use std::process::Command;

use crate::tools::Tool;

/// A cache at the edge, or the parent of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Varnish,
    Nginx,
    TrafficServer,
    Squid,
    /// Varnish once more, between the edge and the origin.
    Regional,
}

/// Where the examples have Varnish take PURGE and BAN, at the edge and in the region.
pub(crate) const RECLAIM: [u16; 2] = [9_111, 9_211];

impl Cache {
    pub(crate) const EDGES: [Self; 4] =
        [Self::Varnish, Self::Nginx, Self::TrafficServer, Self::Squid];

    /// Its name, which is that of its host's first label and of the rule for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Varnish => "varnish",
            Self::Nginx => "nginx",
            Self::TrafficServer => "trafficserver",
            Self::Squid => "squid",
            Self::Regional => "regional",
        }
    }

    /// The host whose objects it has.
    pub(crate) fn host(self) -> String {
        format!("{}.example.com", self.name())
    }

    pub(crate) const fn tool(self) -> Tool {
        match self {
            Self::Varnish | Self::Regional => Tool::Varnish,
            Self::Nginx => Tool::Nginx,
            Self::TrafficServer => Tool::TrafficServer,
            Self::Squid => Tool::Squid,
        }
    }

    /// Where the examples have it listen.
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Varnish => 9_101,
            Self::Nginx => 9_102,
            Self::TrafficServer => 9_103,
            Self::Squid => 9_104,
            Self::Regional => 9_201,
        }
    }

    /// Whether it heeds soft purges.
    pub(crate) const fn revalidates(self) -> bool {
        !matches!(self, Self::Nginx)
    }

    /// Its program on the files in `folder`, a copy of the example. `at` says which port stands for one of the example.
    pub(crate) fn command(
        self,
        program: &Path,
        folder: &Path,
        mut at: impl FnMut(u16) -> u16,
    ) -> Command {
        let mut command = Command::new(program);
        let own = folder.join(self.name());
        let [edge, regional] = RECLAIM.map(&mut at);
        let port = at(self.port());
        match self {
            Self::Varnish => varnish(&mut command, folder, "edge", [port, edge]),
            Self::Regional => varnish(&mut command, folder, "regional", [port, regional]),
            Self::Nginx => {
                command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]);
                command.arg(own);
            }
            Self::TrafficServer => {
                let root = own.join("runroot.yaml");
                command.arg(format!("--run-root={}", root.display()));
            }
            Self::Squid => {
                // Its shared memory is named after that: two of one name would not start.
                let name = format!("squid{}n{port}", std::process::id());
                command.args(["-N", "-n", &name, "-f"]);
                command.arg(own.join("squid.conf"));
            }
        }
        command
    }
}

fn varnish(command: &mut Command, folder: &Path, name: &str, [port, reclaim]: [u16; 2]) {
    let file = folder.join("varnish").join(format!("{name}.vcl"));
    command.arg("-F").arg("-f").arg(file);
    command.arg("-n").arg(folder.join(name));
    command.args(["-j", "none", "-T", "none", "-s", "malloc,64m"]);
    command.arg("-a").arg(format!("127.0.0.1:{port}"));
    command
        .arg("-a")
        .arg(format!("reclaim=127.0.0.1:{reclaim}"));
}
