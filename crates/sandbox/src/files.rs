//! Landlock: no file, no TCP, no signal to anybody outside.

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};

/// The newest version whose rights are named here; an older kernel gives what it has.
const NEWEST: ABI = ABI::V9;

/// Refuses every right that Landlock knows, everywhere: there is no rule that would allow one.
/// The version in force; 0 for none.
pub(crate) fn close_file_system() -> u32 {
    let restrict = || -> Result<u32, RulesetError> {
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .restrict_self()?;
        Ok(match (status.ruleset, status.landlock) {
            (RulesetStatus::NotEnforced, _) => 0,
            (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi as u32,
            _ => 0,
        })
    };
    restrict().unwrap_or(0)
}
