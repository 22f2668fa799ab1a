//! What a new container needs first: its image.

use crate::args::container::options::Options;
use crate::command::whole::is_whole;
use crate::command::{platform, pull};
use crate::failure::Failure;
use crate::session::Session;
use lighter_engine::Store;
use lighter_engine::image::{StoredImage, look_up};
use lighter_image::Platform;

/// The image of a new container, and what is done where it is not here.
pub(super) struct Image {
    name: String,
    pull: String,
    platform: Option<String>,
    quiet: bool,
}

impl Image {
    /// The image that options ask for.
    ///
    /// # Errors
    /// A rule of when it is pulled that is none.
    pub(super) fn of(options: &Options) -> Result<Self, String> {
        if !matches!(options.pull.as_str(), "always" | "missing" | "never" | "") {
            return Err(format!(
                "invalid pull option: '{}': must be one of \"always\", \"missing\" or \"never\"",
                options.pull
            ));
        }
        Ok(Self {
            name: options.words.first().cloned().unwrap_or_default(),
            pull: options.pull.clone(),
            platform: options.platform.clone(),
            quiet: options.quiet,
        })
    }

    /// Sees to it that the image is here, with all its bytes.
    ///
    /// # Errors
    /// An image that cannot be had.
    pub(super) fn provide(&self, session: &Session, store: &Store) -> Result<(), Failure> {
        let wanted = self.platform.as_deref().map_or_else(|| Ok(Platform::host()), platform::parse)?;
        match look_up(store, &self.name) {
            Ok(image) if self.pull != "always" => {
                if let Err(mismatch) = platform::check(self.platform.as_deref(), &self.full_name(), &image) {
                    return if self.pull == "never" {
                        Err(mismatch)
                    } else {
                        self.pull_anew(session, store, &wanted)
                    };
                }
                if !is_whole(store, &image)? {
                    return self.fetch(session, store, &wanted, false);
                }
                self.warn_of_platform(session, &image);
                Ok(())
            }
            Ok(_) => self.fetch(session, store, &wanted, true),
            Err(error) if error.is_missing() && self.pull != "never" => {
                self.pull_anew(session, store, &wanted)
            }
            Err(error) => Err(Failure::because(&error)),
        }
    }

    /// Pulls what is not here, or only for another platform.
    fn pull_anew(&self, session: &Session, store: &Store, wanted: &Platform) -> Result<(), Failure> {
        // what is no name of an image is nowhere, and is refused as such
        if !self.quiet && self.name.parse::<lighter_image::Reference>().is_ok() {
            session.remark(&format!("Unable to find image '{}' locally", self.full_name()));
        }
        self.fetch(session, store, wanted, true)
    }

    fn fetch(
        &self,
        session: &Session,
        store: &Store,
        wanted: &Platform,
        always: bool,
    ) -> Result<(), Failure> {
        let telling = pull::Telling { session, quiet: self.quiet, aside: true };
        pull::provide(&telling, store, &self.name, wanted, always)?;
        // a name that stands for one image is that image, whatever it is for
        let pulled = look_up(store, &self.name).map_err(|error| Failure::because(&error))?;
        platform::check(self.platform.as_deref(), &self.full_name(), &pulled)?;
        self.warn_of_platform(session, &pulled);
        Ok(())
    }

    /// Says that programs of the image may not run here, where nobody asked for its platform.
    fn warn_of_platform(&self, session: &Session, image: &StoredImage) {
        let (found, host) = (image.config.platform(), Platform::host());
        if self.platform.is_none() && !found.satisfies(&host) {
            session.remark(&format!(
                "WARNING: The requested image's platform ({found}) does not match the detected host platform ({host}) and no specific platform was requested"
            ));
        }
    }

    /// The name with its tag.
    fn full_name(&self) -> String {
        match self.name.parse::<lighter_image::Reference>() {
            Ok(reference) => reference.with_default_tag().familiar(),
            Err(_) => self.name.clone(),
        }
    }
}
