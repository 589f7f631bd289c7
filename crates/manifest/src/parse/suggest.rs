//! What someone meant who wrote something else.

use strsim::damerau_levenshtein;

/// Longest word that is compared; comparing takes time and memory by the product of the lengths.
const WORD_LENGTH_MAX: usize = 64;

/// A hint with the candidate nearest to `word`, if one is near.
pub(crate) fn did_you_mean<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    if word.len() > WORD_LENGTH_MAX {
        return None;
    }
    let word = word.to_lowercase();
    let far = (word.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= far || word.len() >= 3 && candidate.starts_with(&word)
        })
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near() {
        let check = |word: &str, expected: Option<&str>| {
            let hint = did_you_mean(word, ["component", "trigger", "name"]);
            let expected = expected.map(|word| format!("did you mean `{word}`?"));
            assert_eq!(hint, expected, "{word}");
        };
        check("componet", Some("component"));
        check("Components", Some("component"));
        check("trigegr", Some("trigger"));
        check("comp", Some("component"));
        check("nmae", Some("name"));
        check("x", None);
        check("", None);
        check("dependencies", None);
        check(&"x".repeat(100_000), None);
    }
}
