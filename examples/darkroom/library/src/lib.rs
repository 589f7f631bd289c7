//! The filters of darkroom as a library component: the world `wharf:darkroom/darkroom`, for
//! programs in any language and for the browser. All the work is done in `darkroom-filters`.

// For the generated bindings, which cross into the host.
#![allow(unsafe_code, missing_docs)]

use darkroom_filters as plain;
use exports::wharf::darkroom::filters::{self, Bounds, Error, Format, Operation, Options, Picture};

wit_bindgen::generate!({ path: "wit", world: "darkroom" });

struct Darkroom;

export!(Darkroom);

impl filters::Guest for Darkroom {
    fn apply(
        input: Vec<u8>,
        operation: Operation,
        options: Option<Options>,
    ) -> Result<Picture, Error> {
        let mut with = plain::Options::default();
        if let Some(options) = options {
            with.format = options.format.map(plain::Format::from);
            with.quality = options.quality.unwrap_or(with.quality);
            with.pixels_max = options.pixels_max.unwrap_or(with.pixels_max);
        }
        let output = plain::apply_with(&input, &operation.into(), &with, &mut |_, _| {})?;
        Ok(Picture {
            bytes: output.bytes,
            format: output.format.into(),
            width: output.width,
            height: output.height,
        })
    }

    fn filter(input: Vec<u8>, operation: Operation) -> Result<Picture, Error> {
        Self::apply(input, operation, None)
    }
}

impl From<Operation> for plain::Operation {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Grayscale => Self::Grayscale,
            Operation::Resize(Bounds { width, height }) => Self::Resize { width, height },
            Operation::Blur(sigma) => Self::Blur { sigma },
            Operation::Edges => Self::Edges,
        }
    }
}

impl From<Format> for plain::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg,
        }
    }
}

impl From<plain::Format> for Format {
    fn from(format: plain::Format) -> Self {
        match format {
            plain::Format::Png => Self::Png,
            plain::Format::Jpeg => Self::Jpeg,
        }
    }
}

impl From<plain::FilterError> for Error {
    fn from(error: plain::FilterError) -> Self {
        use plain::FilterError as Plain;
        let message = error.to_string();
        match error {
            Plain::Unsupported { .. } => Self::Unsupported(message),
            Plain::TooLarge { .. } => Self::TooLarge(message),
            Plain::Parameter { .. } => Self::BadParameter(message),
            Plain::Encode { .. } => Self::BadResult(message),
            _ => Self::BadPicture(message),
        }
    }
}
