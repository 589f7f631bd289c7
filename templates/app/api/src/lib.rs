//! The API: counts the words of a text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharf_sdk::http::{HeaderValue, Method, StatusCode};
use wharf_sdk::{IntoResponse, Request, Response, Result};

/// The longest text that is taken, in bytes.
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// How many words are listed.
const TOP_COUNT: usize = 8;

#[derive(Deserialize)]
struct Question {
    text: String,
}

#[derive(Serialize)]
struct Answer {
    characters: usize,
    words: usize,
    top: Vec<Word>,
}

#[derive(Serialize)]
struct Word {
    word: String,
    count: usize,
}

#[wharf_sdk::http]
async fn handle(request: Request) -> Result<Response> {
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/api/words") => {
            let body = request.into_body().bytes_max(TEXT_BYTES_MAX).await?;
            match serde_json::from_slice::<Question>(&body) {
                Ok(question) => json(&answer(&question.text)),
                Err(error) => {
                    let text = format!("expected {{\"text\": …}}: {error}\n");
                    Ok((StatusCode::BAD_REQUEST, text).into_response())
                }
            }
        }
        (_, "/api/words") => {
            let answer = (StatusCode::METHOD_NOT_ALLOWED, "post a text here\n");
            let mut response = answer.into_response();
            let allowed = HeaderValue::from_static("POST");
            response.headers_mut().insert("allow", allowed);
            Ok(response)
        }
        _ => Ok((StatusCode::NOT_FOUND, "not found\n").into_response()),
    }
}

fn json(value: &impl Serialize) -> Result<Response> {
    let mut response = serde_json::to_vec(value)?.into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    Ok(response)
}

fn answer(text: &str) -> Answer {
    let mut counts = BTreeMap::new();
    let mut words = 0;
    for word in text.split(|character: char| !character.is_alphanumeric()) {
        if !word.is_empty() {
            words += 1;
            *counts.entry(word.to_lowercase()).or_insert(0) += 1;
        }
    }
    let mut top: Vec<Word> = counts
        .into_iter()
        .map(|(word, count)| Word { word, count })
        .collect();
    top.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.word.cmp(&b.word)));
    top.truncate(TOP_COUNT);
    Answer {
        characters: text.chars().count(),
        words,
        top,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_words_without_case() {
        let answer = answer("The cat. The hat!");
        assert_eq!((answer.characters, answer.words), (17, 4));
        assert_eq!(
            (answer.top[0].word.as_str(), answer.top[0].count),
            ("the", 2)
        );
    }
}
