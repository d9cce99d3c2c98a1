//! What does the shop run on: which pods, versions, hosts and clocks?
//!
//! A pod is one OTLP resource. A roll-out starts new pods and ends the old ones. A few pods have a clock that is
//! off by up to a few seconds; all their telemetry is shifted by that.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::attributes::{int, text, texts};
use super::dice::Dice;
use super::incident::{ROLLOUTS, Rollout};
use super::shop::{Language, REGIONS, SERVICES, Service};
use super::world::Library;

/// Hosts per region.
const HOSTS: u64 = 12;
/// One in this many pods has a clock that is off.
const SKEWED_ONE_IN: u64 = 25;

/// One pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) service: usize,
    pub(super) region: usize,
    pub(super) version: &'static str,
    /// IP address, for its callers.
    pub(super) address: String,
    /// Offset of its clock: positive if it is ahead.
    pub(super) skew_ns: i64,
    /// Time from its start to the roll-out that replaces it.
    pub(super) runs_ns: std::ops::Range<i64>,
    pub(super) resource: Resource,
}

/// Pods of one service in one region that started together.
#[derive(Debug)]
struct Group {
    from_ns: i64,
    first: usize,
    pods: usize,
}

/// A version of one service in one region, whose pods start together.
#[derive(Debug, Clone, Copy)]
struct Deployment {
    service: usize,
    region: usize,
    version: &'static str,
    from_ns: i64,
}

/// All pods.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) pods: Vec<Pod>,
    /// Groups by service and region, the newest last.
    groups: Vec<Vec<Group>>,
    scopes: Vec<InstrumentationScope>,
}

impl Fleet {
    /// Starts the fleet; `at_ns` maps a share of the corpus to a time.
    pub(super) fn new(seed: u64, at_ns: impl Fn(f64) -> i64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let mut fleet = Self { pods: Vec::new(), groups: Vec::new(), scopes: scopes() };
        for (service_index, service) in SERVICES.iter().enumerate() {
            for (region_index, (region, _)) in REGIONS.iter().enumerate() {
                let first = Deployment {
                    service: service_index,
                    region: region_index,
                    version: service.version,
                    from_ns: i64::MIN,
                };
                let mut groups = vec![fleet.start(&mut dice, first)];
                let applies =
                    |r: &&Rollout| r.service == service.name && (r.region.is_empty() || r.region == *region);
                for rollout in ROLLOUTS.iter().filter(applies) {
                    let from_ns = at_ns(rollout.at);
                    for pod in groups.iter().flat_map(|g| g.first..g.first + g.pods) {
                        fleet.pods[pod].runs_ns.end = from_ns;
                    }
                    groups.push(
                        fleet.start(&mut dice, Deployment { version: rollout.version, from_ns, ..first }),
                    );
                }
                fleet.groups.push(groups);
            }
        }
        fleet
    }

    /// Index of the pod of `service` in `region` that answers at `now_ns`; `draw` chooses among the replicas.
    pub(super) fn pod(&self, service: usize, region: usize, now_ns: i64, draw: u64) -> usize {
        let groups = &self.groups[service * REGIONS.len() + region];
        let running = groups.iter().rev().find(|g| g.from_ns <= now_ns).unwrap_or(&groups[0]);
        running.first + (draw % running.pods as u64) as usize
    }

    /// Instrumentation scope at `index` ([`Self::scope_index`]).
    pub(super) fn scope(&self, index: usize) -> &InstrumentationScope {
        &self.scopes[index]
    }

    /// Index of the instrumentation scope of `library` for `language`.
    pub(super) fn scope_index(language: Language, library: Library) -> usize {
        language as usize * LIBRARIES.len() + library as usize
    }

    fn start(&mut self, dice: &mut Dice, deployment: Deployment) -> Group {
        let Deployment { service, region, version, from_ns } = deployment;
        let first = self.pods.len();
        let spec = &SERVICES[service];
        let replica_set = format!("{}-{}", spec.name, dice.hex(5));
        let revision = dice.hex(20);
        for _ in 0..spec.pods {
            let host = dice.below(HOSTS);
            let address = format!("10.{}.{host}.{}", 16 + region, 10 + self.pods.len() % 240);
            let skew_ns = if dice.below(SKEWED_ONE_IN) == 0 { (dice.bell() * 1.5e9) as i64 } else { 0 };
            let place = Place {
                region,
                host,
                address: &address,
                replica_set: &replica_set,
                revision: &revision,
                version,
            };
            let resource = resource(dice, spec, &place);
            let runs_ns = from_ns..i64::MAX;
            self.pods.push(Pod { service, region, version, address, skew_ns, runs_ns, resource });
        }
        Group { from_ns, first, pods: spec.pods }
    }
}

/// Location and program of a pod.
struct Place<'a> {
    region: usize,
    host: u64,
    address: &'a str,
    replica_set: &'a str,
    revision: &'a str,
    version: &'a str,
}

fn resource(dice: &mut Dice, service: &Service, place: &Place<'_>) -> Resource {
    let runtime = runtime(service.language);
    let region = REGIONS[place.region].0;
    let pod = format!("{}-{}", place.replica_set, dice.hex(3));
    let host = format!("node-{region}-{:02}", place.host);
    let image = format!("registry.heddle.internal/{}", service.name);
    let zone = format!("{region}-{}", ['a', 'b', 'c'][place.host as usize % 3]);
    let mut attributes = vec![
        text("service.name", service.name),
        text("service.namespace", "heddle"),
        text("service.version", place.version),
        text("service.instance.id", dice.uuid()),
        text("deployment.environment.name", "production"),
        text("cloud.provider", "alibaba_cloud"),
        text("cloud.platform", "alibaba_cloud_openshift"),
        text("cloud.region", region),
        text("cloud.availability_zone", zone),
        text("cloud.account.id", format!("77310042{:02}", place.region)),
        text("k8s.cluster.name", format!("heddle-{region}")),
        text("k8s.cluster.uid", format!("5d0c2f6e-0000-4000-8000-0000000000{:02}", place.region)),
        text("k8s.namespace.name", "shop"),
        text("k8s.node.name", host.as_str()),
        text("k8s.deployment.name", service.name),
        text("k8s.replicaset.name", place.replica_set),
        text("k8s.pod.name", pod),
        text("k8s.pod.uid", dice.uuid()),
        text("k8s.pod.ip", place.address),
        text("k8s.container.name", service.name),
        int("k8s.container.restart_count", dice.below(20).saturating_sub(17) as i64),
        text("container.id", dice.hex(32)),
        text("container.image.name", image),
        texts("container.image.tags", &[place.version, "stable"]),
        text("host.name", host),
        text("host.id", format!("i-{:05x}{:03x}", place.region * 7919, place.host * 257)),
        text("host.type", if place.host.is_multiple_of(2) { "g8.2xlarge" } else { "g8y.4xlarge" }),
        text("host.arch", if place.host.is_multiple_of(2) { "amd64" } else { "arm64" }),
        text("os.type", "linux"),
        text("os.description", "Debian GNU/Linux 13 (trixie)"),
        int("process.pid", 1 + dice.below(60) as i64),
        text("process.executable.name", runtime.executable),
        text("process.owner", "app"),
        text("process.runtime.name", runtime.name),
        text("process.runtime.version", runtime.version),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", runtime.sdk_language),
        text("telemetry.sdk.version", runtime.sdk_version),
        text("vcs.ref.head.revision", place.revision),
        text("team.name", service.team),
    ];
    // An old SDK that sends a number where the others send text. `process.owner` (a uid here) is a type conflict
    // as in real fleets; `host.id` and `team.name` stay text.
    if service.language == Language::Php {
        attributes.retain(|a| a.key != "process.owner");
        attributes.push(int("process.owner", 33));
    }
    Resource { attributes, ..Resource::default() }
}

struct Runtime {
    name: &'static str,
    version: &'static str,
    executable: &'static str,
    sdk_language: &'static str,
    sdk_version: &'static str,
}

fn runtime(language: Language) -> Runtime {
    let of = |name, version, executable, sdk_language, sdk_version| Runtime {
        name,
        version,
        executable,
        sdk_language,
        sdk_version,
    };
    match language {
        Language::DotNet => of(".NET", "9.0.6", "dotnet", "dotnet", "1.12.0"),
        Language::Go => of("go", "go1.24.4", "app", "go", "1.37.0"),
        Language::Java => of("OpenJDK Runtime Environment", "21.0.7+6-LTS", "java", "java", "1.51.0"),
        Language::Node => of("nodejs", "22.16.0", "node", "nodejs", "2.0.1"),
        Language::Php => of("php", "8.4.8", "php-fpm", "php", "1.6.0"),
        Language::Python => of("cpython", "3.13.4", "python3", "python", "1.34.1"),
        Language::Ruby => of("ruby", "3.4.4", "ruby", "ruby", "1.8.0"),
        Language::Rust => of("rust", "1.88.0", "app", "rust", "0.30.0"),
    }
}

const LANGUAGES: [Language; 8] = [
    Language::DotNet,
    Language::Go,
    Language::Java,
    Language::Node,
    Language::Php,
    Language::Python,
    Language::Ruby,
    Language::Rust,
];
const LIBRARIES: [(&str, &str); 6] = [
    ("http-server", "0.61.0"),
    ("http-client", "0.61.0"),
    ("grpc", "0.60.2"),
    ("database", "0.44.1"),
    ("kafka", "0.12.3"),
    ("heddle.application", ""),
];

fn scopes() -> Vec<InstrumentationScope> {
    let of = |language: Language, (name, version): (&str, &str)| InstrumentationScope {
        name: if version.is_empty() {
            name.to_owned()
        } else {
            format!("io.opentelemetry.{}.{name}", runtime(language).sdk_language)
        },
        version: version.to_owned(),
        attributes: if name == "database" {
            vec![text("instrumentation.mode", "sanitized")]
        } else {
            Vec::new()
        },
        dropped_attributes_count: 0,
    };
    LANGUAGES.iter().flat_map(|&language| LIBRARIES.map(|library| of(language, library))).collect()
}
