//! What to do about a limit or a denial, where the operator has a say in it beside the manifest.

use wharf_engine::{Fault, LimitHit};
use wharf_host::Denial;
use wharf_manifest::{Ceilings, Limits, Withheld};

/// Who decides what for one component.
#[derive(Debug, Clone, Default)]
pub(crate) struct Advice {
    /// The limits that are as high as the node's ceilings let them be.
    at_ceiling: Vec<&'static str>,
    /// The grants of which the node gives less than the manifest asks.
    narrowed: Vec<&'static str>,
    is_bare: bool,
    app: String,
}

impl Advice {
    /// For a component of `app` with `limits`, which are below `ceilings` already. One that
    /// `is_bare` has no manifest.
    pub(crate) fn new(
        app: &str,
        is_bare: bool,
        ceilings: &Ceilings,
        limits: &Limits,
        withheld: &[Withheld],
    ) -> Advice {
        Advice {
            at_ceiling: ceilings.reached(limits),
            narrowed: withheld.iter().map(|withheld| withheld.key).collect(),
            is_bare,
            app: app.to_owned(),
        }
    }

    /// How to raise the limit `key` of the manifest; `None` if the manifest alone decides.
    pub(crate) fn limit(&self, key: &str) -> Option<String> {
        if self.at_ceiling.contains(&key) {
            return Some(format!(
                "the node's ceiling is no higher, whatever a manifest asks: its operator raises `{key}` under [ceilings] in the node file"
            ));
        }
        self.is_bare.then(|| {
            format!(
                "a .wasm file by itself has the default limits: serve a folder whose wharf.toml has it as a component, with `limits.{key}`"
            )
        })
    }

    /// What to do about `fault`.
    pub(crate) fn on(&self, fault: &Fault) -> Option<String> {
        let key = fault.limit.as_ref().and_then(LimitHit::key);
        let own = key.and_then(|key| self.limit(key));
        own.or_else(|| fault.hint.clone())
    }

    /// What to do about `denial`, which the component `name` met.
    pub(crate) fn on_denial(&self, denial: &Denial, name: &str) -> Option<String> {
        if let Some(key) = denial.grant_key()
            && self.narrowed.contains(&key)
        {
            let app = &self.app;
            return Some(format!(
                "the node's operator gives this app less than its manifest asks: what it gives stands under `app.{app}.allow.{key}` in the node file"
            ));
        }
        let by_limit = denial.limit_key().and_then(|key| self.limit(key));
        by_limit.or_else(|| denial.manifest_hint(name))
    }
}

#[cfg(test)]
mod tests {
    use wharf_host::Remedy;
    use wharf_manifest::ByteSize;

    use super::*;

    const MEMORY: LimitHit = LimitHit::Memory {
        limit: ByteSize::mib(64),
    };

    fn hint(advice: &Advice, limit: LimitHit) -> String {
        advice.on(&Fault::limit(limit)).unwrap()
    }

    #[test]
    fn who_holds_a_limit_down_is_named() {
        let limits = Limits {
            memory: ByteSize::mib(64),
            ..Limits::DEFAULT
        };
        let ceiling = Ceilings {
            memory: Some(ByteSize::mib(64)),
            ..Ceilings::default()
        };
        let free = Ceilings::default();
        let advice = |is_bare, ceilings| Advice::new("shop", is_bare, ceilings, &limits, &[]);
        assert!(hint(&advice(false, &free), MEMORY).contains("wharf.toml"));
        for is_bare in [true, false] {
            let told = hint(&advice(is_bare, &ceiling), MEMORY);
            assert!(told.contains("[ceilings] in the node file"), "{told}");
            assert!(!told.contains("wharf.toml"), "{told}");
        }
        let told = hint(&advice(true, &free), MEMORY);
        assert!(told.contains("default limits"), "{told}");
        let stack = hint(&advice(true, &ceiling), LimitHit::Stack);
        assert_eq!(stack, LimitHit::Stack.hint());
    }

    fn denial(remedy: Remedy) -> Denial {
        Denial {
            what: "it".into(),
            remedy,
            asked_only: false,
            survived_by_many: false,
        }
    }

    #[test]
    fn a_denial_of_what_the_operator_withheld_names_the_operator() {
        let withheld = [Withheld {
            key: "http",
            asked: "*".into(),
            given: Vec::new(),
        }];
        let free = Ceilings::default();
        let advice = Advice::new("shop", false, &free, &Limits::DEFAULT, &withheld);
        let grant = |key| {
            denial(Remedy::Grant {
                key,
                manifest_line: format!("{key} = [\"x\"]"),
                flag: String::new(),
            })
        };
        let told = advice.on_denial(&grant("http"), "api").unwrap();
        assert!(told.contains("`app.shop.allow.http`"), "{told}");
        let told = advice.on_denial(&grant("net"), "api").unwrap();
        assert!(told.contains("[component.api.grants]: net ="), "{told}");
        let listed = denial(Remedy::NodeFile {
            line: "LINE".into(),
        });
        let told = advice.on_denial(&listed, "api").unwrap();
        assert!(told.ends_with("LINE"), "{told}");
        let limit = Remedy::Limit { key: "outgoing" };
        let told = advice.on_denial(&denial(limit), "api").unwrap();
        assert!(told.contains("`limits.outgoing` in wharf.toml"), "{told}");
        assert_eq!(advice.on_denial(&denial(Remedy::Nothing), "api"), None);
    }

    #[test]
    fn descriptors_are_no_limit_of_a_manifest() {
        let free = Ceilings::default();
        let bare = Advice::new("shop", true, &free, &Limits::DEFAULT, &[]);
        let hint = |remedy| bare.on_denial(&denial(remedy), "api").unwrap();
        let told = hint(Remedy::Limit { key: "outgoing" });
        assert!(told.contains("with `limits.outgoing`"), "{told}");
        let told = hint(Remedy::Descriptors);
        assert!(told.contains("`ulimit -n`"), "{told}");
        assert!(!told.contains("limits."), "{told}");
    }
}
