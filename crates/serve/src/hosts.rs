//! Which app a host name means.

use std::collections::HashMap;
use std::sync::Arc;

use wharf_manifest::HostName;

use crate::app::LiveApp;

/// The apps of a node by the names under which they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: HashMap<Box<str>, Arc<LiveApp>>,
    /// By the name below which all are meant.
    below: HashMap<Box<str>, Arc<LiveApp>>,
    /// For all other names.
    others: Option<Arc<LiveApp>>,
}

impl Hosts {
    /// One app for all names.
    pub(crate) fn only(app: Arc<LiveApp>) -> Hosts {
        Hosts {
            others: Some(app),
            ..Hosts::default()
        }
    }

    pub(crate) fn add(&mut self, names: &[HostName], app: &Arc<LiveApp>) {
        if names.is_empty() {
            self.others = Some(Arc::clone(app));
        }
        for name in names {
            let (map, name) = match name.parent() {
                Some(parent) => (&mut self.below, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.insert(name.into(), Arc::clone(app));
        }
    }

    /// The app that has no name of its own.
    pub(crate) fn others(&self) -> Option<&Arc<LiveApp>> {
        self.others.as_ref()
    }

    /// All apps, one with several names as often.
    pub(crate) fn apps(&self) -> impl Iterator<Item = &Arc<LiveApp>> {
        let named = self.exact.values().chain(self.below.values());
        named.chain(&self.others)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.apps().next().is_none()
    }

    /// The app for `host`, a name or address as a request has it, without its port.
    ///
    /// An exact name goes before one with a wildcard, a longer one of those before a shorter.
    pub(crate) fn app(&self, host: &str) -> Option<&Arc<LiveApp>> {
        if self.exact.is_empty() && self.below.is_empty() {
            return self.others();
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let lower;
        let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => {
                lower = host.to_ascii_lowercase();
                &lower
            }
            false => host,
        };
        if let Some(app) = self.exact.get(host) {
            return Some(app);
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(app) = self.below.get(parent) {
                return Some(app);
            }
            rest = parent;
        }
        self.others()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> Arc<LiveApp> {
        Arc::new(LiveApp::empty(name))
    }

    fn hosts(apps: &[(&str, &[&str])]) -> Hosts {
        let mut hosts = Hosts::default();
        for (name, names) in apps {
            let names: Vec<HostName> = names.iter().map(|name| name.parse().unwrap()).collect();
            hosts.add(&names, &app(name));
        }
        hosts
    }

    #[test]
    fn the_nearest_name_wins() {
        let hosts = hosts(&[
            ("a", &["a.example", "127.0.0.1"]),
            ("below", &["*.a.example"]),
            ("deep", &["*.deep.a.example"]),
            ("six", &["[::1]"]),
        ]);
        let found = |host: &str| hosts.app(host).map(|app| app.name().to_owned());
        assert_eq!(found("a.example").as_deref(), Some("a"));
        assert_eq!(found("A.Example.").as_deref(), Some("a"));
        assert_eq!(found("127.0.0.1").as_deref(), Some("a"));
        assert_eq!(found("x.a.example").as_deref(), Some("below"));
        assert_eq!(found("x.y.a.example").as_deref(), Some("below"));
        assert_eq!(found("x.deep.a.example").as_deref(), Some("deep"));
        assert_eq!(found("deep.a.example").as_deref(), Some("below"));
        assert_eq!(found("[::1]").as_deref(), Some("six"));
        assert_eq!(found("b.example"), None);
        assert_eq!(found("nota.example"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn one_app_may_answer_for_all_others() {
        let hosts = hosts(&[("a", &["a.example"]), ("rest", &[])]);
        let found = |host: &str| hosts.app(host).unwrap().name().to_owned();
        assert_eq!(found("a.example"), "a");
        assert_eq!(found("b.example"), "rest");
        assert_eq!(Hosts::only(app("b")).app("x").unwrap().name(), "b");
    }
}
