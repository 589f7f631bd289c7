//! The query of `/api/filter`.

use std::str::FromStr;

use darkroom_filters::{Format, Operation, Options};

use crate::problem::Problem;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) operation: Operation,
    pub(crate) options: Options,
}

const NAMES: &str = "the parameters are op, width, height, sigma, format and quality";
const OPERATIONS: &str = "`op` is grayscale, resize, blur or edges";

impl Query {
    /// Reads `op=blur&sigma=2.5&format=png`. Parameters that another operation would use are
    /// allowed, so that a form can send all it has; names nobody knows are not. None of the values
    /// needs percent encoding.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let (mut name, mut sigma) = (None, None);
        let (mut width, mut height) = (None, None);
        let mut options = Options::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "op" => name = Some(value),
                "width" => width = number(key, value)?,
                "height" => height = number(key, value)?,
                "sigma" => sigma = number(key, value)?,
                "quality" => options.quality = number(key, value)?.unwrap_or(options.quality),
                "format" if value.is_empty() => options.format = None,
                "format" => options.format = Some(Format::from_str(value)?),
                _ => return Err(Problem::parameter(format!("`{key}` is not known"), NAMES)),
            }
        }
        if !(1..=100).contains(&options.quality) {
            let detail = format!("`quality` is {}", options.quality);
            return Err(Problem::parameter(detail, "`quality` is from 1 to 100"));
        }
        let operation = match name {
            Some("grayscale") => Operation::Grayscale,
            Some("resize") => Operation::Resize { width, height },
            Some("blur") => Operation::Blur {
                sigma: sigma.unwrap_or(SIGMA_DEFAULT),
            },
            Some("edges") => Operation::Edges,
            Some(other) => {
                return Err(Problem::parameter(
                    format!("there is no `op={other}`"),
                    OPERATIONS,
                ));
            }
            None => return Err(Problem::parameter("`op` is missing".to_owned(), OPERATIONS)),
        };
        operation.validate()?;
        Ok(Self { operation, options })
    }
}

/// The blur where none is told, in pixels.
pub(crate) const SIGMA_DEFAULT: f32 = 4.0;

/// An empty value counts as none, as forms send it.
fn number<T: FromStr>(key: &str, value: &str) -> Result<Option<T>, Problem> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| {
        let hint = "numbers are written as 1200 or 2.5, without a sign or unit";
        Problem::parameter(format!("`{key}={value}` is not a number that fits"), hint)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn operations_and_options_are_read() {
        let check = |text, operation| assert_eq!(Query::parse(text).unwrap().operation, operation);
        check("op=grayscale", Operation::Grayscale);
        check("op=edges&sigma=&width=", Operation::Edges);
        check(
            "op=blur",
            Operation::Blur {
                sigma: SIGMA_DEFAULT,
            },
        );
        check("sigma=2.5&op=blur", Operation::Blur { sigma: 2.5 });
        let resize = Operation::Resize {
            width: Some(1200),
            height: None,
        };
        check("op=resize&width=1200&height=", resize);

        let options = Query::parse("op=edges&format=png&quality=70")
            .unwrap()
            .options;
        assert_eq!((options.format, options.quality), (Some(Format::Png), 70));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text, part: &str| {
            let problem = Query::parse(text).unwrap_err();
            assert_eq!(problem.status, 400, "{text}");
            assert!(problem.detail.contains(part), "{text}: {}", problem.detail);
        };
        check("", "`op` is missing");
        check("op=sepia", "sepia");
        check("op=blur&sigma=wide", "sigma=wide");
        check("op=blur&sigma=-1", "`sigma` must be");
        check("op=resize", "`width`");
        check("op=resize&width=99999999999", "width=99999999999");
        check("op=edges&format=gif", "`format`");
        check("op=edges&quality=0", "quality");
        check("op=edges&size=3", "`size`");
    }
}
