//! A star of network namespaces: the broker in the middle, everybody else at the end of a link of their own.
//!
//! **Here:** [`Network`], and what can be done to a [`Link`]: cut, made slow or lossy, deaf on one side, reset.
//! **Not here:** delay and loss by `netem`, which not every kernel has: a queue with a low rate delays (long queue) and
//! loses (short queue) as well. **Start** with [`Network::lay`]; it needs root.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process;
use crate::scene::Random;

/// Where the broker is for everybody.
pub(super) const HUB: &str = "10.77.255.1";

/// The namespaces; gone when dropped.
pub(super) struct Network {
    hub: String,
    links: Vec<Link>,
}

/// The link of one who is not the broker.
pub(super) struct Link {
    namespace: String,
    hub: String,
    /// The hub's end.
    device: String,
    address: String,
}

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The cable is out.
    Cut,
    /// Nothing comes from the broker any more; what is said to it arrives.
    Deaf,
    /// 32 kbit/s, and seconds of waiting.
    Slow,
    /// 256 kbit/s, and what does not fit at once is lost.
    Lossy,
}

impl Trouble {
    pub(super) fn any(random: &mut Random) -> Self {
        [Self::Cut, Self::Deaf, Self::Slow, Self::Lossy][random.below(4) as usize]
    }
}

impl Network {
    /// Lays a link for each of `names` (few letters).
    pub(super) fn lay(names: &[String]) -> Result<Self> {
        clear_the_dead();
        let prefix = format!("didar-{}", std::process::id());
        let hub = format!("{prefix}-hub");
        let mut network = Self { hub: hub.clone(), links: Vec::new() };
        ip(&["netns", "add", &hub]).context("network namespaces need root and iproute2")?;
        ip(&["-n", &hub, "link", "set", "lo", "up"])?;
        ip(&["-n", &hub, "address", "add", &format!("{HUB}/32"), "dev", "lo"])?;
        for (number, name) in (1..).zip(names) {
            let link = Link {
                namespace: format!("{prefix}-{name}"),
                hub: hub.clone(),
                device: format!("to-{name}"),
                address: format!("10.77.{number}.2"),
            };
            ip(&["netns", "add", &link.namespace])?;
            network.links.push(link);
            if let Some(link) = network.links.last() {
                link.join(&format!("10.77.{number}.1"))?;
            }
        }
        Ok(network)
    }

    /// The link of the name at this place.
    pub(super) fn link(&self, place: usize) -> &Link {
        &self.links[place]
    }

    /// The broker's namespace.
    pub(super) fn hub(&self) -> &str {
        &self.hub
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in self.links.iter().map(|link| link.namespace.as_str()).chain([self.hub.as_str()]) {
            // One that is gone already is as good.
            let _ = ip(&["netns", "delete", namespace]);
        }
    }
}

impl Link {
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn join(&self, gateway: &str) -> Result<()> {
        let Self { namespace, hub, device, address } = self;
        ip(&["-n", hub, "link", "add", device, "type", "veth", "peer", "name", "wire", "netns", namespace])?;
        ip(&["-n", hub, "address", "add", &format!("{gateway}/30"), "dev", device])?;
        ip(&["-n", hub, "link", "set", device, "up"])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", namespace, "address", "add", &format!("{address}/30"), "dev", "wire"])?;
        ip(&["-n", namespace, "link", "set", "wire", "up"])?;
        ip(&["-n", namespace, "route", "add", &format!("{HUB}/32"), "via", gateway])
    }

    /// Something is wrong from now on.
    pub(super) fn begin(&self, trouble: Trouble) -> Result<()> {
        let silent = format!("{}/32", self.address);
        match trouble {
            Trouble::Cut => ip(&["-n", &self.hub, "link", "set", &self.device, "down"]),
            Trouble::Deaf => ip(&["-n", &self.hub, "route", "add", "blackhole", &silent]),
            Trouble::Slow => self.shape(&["rate", "32kbit", "burst", "2000", "latency", "4s"]),
            Trouble::Lossy => self.shape(&["rate", "256kbit", "burst", "2000", "limit", "3000"]),
        }
    }

    /// It is right again.
    pub(super) fn end(&self, trouble: Trouble) -> Result<()> {
        let silent = format!("{}/32", self.address);
        match trouble {
            Trouble::Cut => ip(&["-n", &self.hub, "link", "set", &self.device, "up"]),
            Trouble::Deaf => ip(&["-n", &self.hub, "route", "delete", "blackhole", &silent]),
            Trouble::Slow | Trouble::Lossy => {
                tc(&["-n", &self.hub, "qdisc", "delete", "dev", &self.device, "root"])?;
                tc(&["-n", &self.namespace, "qdisc", "delete", "dev", "wire", "root"])
            }
        }
    }

    /// Every connection over this link is reset.
    pub(super) fn reset(&self) -> Result<()> {
        ip(&["netns", "exec", &self.hub, "ss", "-K", "dst", &self.address])
    }

    /// A bucket at both ends.
    fn shape(&self, bucket: &[&str]) -> Result<()> {
        for (namespace, device) in [(self.hub.as_str(), self.device.as_str()), (self.namespace.as_str(), "wire")] {
            let order = ["-n", namespace, "qdisc", "replace", "dev", device, "root", "tbf"];
            tc(&[&order, bucket].concat())?;
        }
        Ok(())
    }
}

/// Namespaces of runs that were killed themselves.
fn clear_the_dead() {
    let Ok(found) = std::fs::read_dir("/run/netns") else { return };
    for name in found.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let maker = name.strip_prefix("didar-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if maker.is_some_and(|maker| !Path::new(&format!("/proc/{maker}")).exists()) {
            // One that cannot be removed is in nobody's way.
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    process::run(Path::new("ip"), arguments).map(drop)
}

fn tc(arguments: &[&str]) -> Result<()> {
    process::run(Path::new("tc"), arguments).map(drop)
}
