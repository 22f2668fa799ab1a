//! `--format` of the verbs that list things: tables with headings, JSON, or a template of the user's.

use crate::render::table;
use crate::template::{Schema, Template, TemplateError};
use serde_json::{Map, Value};

/// A template that does not fit a list; unlike one of `inspect` it ends the verb as any other fault does.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: {0}")]
pub(crate) struct ListingError(#[from] pub(crate) TemplateError);

/// What a verb lists.
pub(crate) struct Listing {
    /// The template of the table that is shown without `--format`.
    pub(crate) table: &'static str,
    /// The template of `--quiet`.
    pub(crate) quiet: &'static str,
    /// The headings, by field.
    pub(crate) headings: &'static [(&'static str, &'static str)],
    /// Fields that are called with a key; JSON leaves them out.
    pub(crate) methods: &'static [&'static str],
}

impl Listing {
    /// The text of a list.
    ///
    /// # Errors
    /// A fault of the template.
    pub(crate) fn render(
        &self,
        format: Option<&str>,
        quiet: bool,
        rows: &[Value],
    ) -> Result<String, ListingError> {
        let (template, tabular) = self.template(format.unwrap_or("table"), quiet);
        let parsed = Template::parse(&template)?;
        let schema = Schema { methods: self.methods, row: true, ..Schema::default() };
        let mut lines = Vec::with_capacity(rows.len() + 1);
        for row in rows {
            lines.push(parsed.render(row, &schema)?);
        }
        if tabular {
            lines.insert(0, parsed.render(&self.heading(), &Schema { heading: true, ..schema })?);
        }
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        Ok(if tabular { table::align(&text) } else { text })
    }

    /// The template to use, and whether it makes a table.
    fn template(&self, format: &str, quiet: bool) -> (String, bool) {
        let (template, tabular) = match format.trim() {
            "table" | "" if quiet => (self.quiet, false),
            "table" | "" => (self.table, true),
            "json" => ("{{json .}}", false),
            other => match other.strip_prefix("table ") {
                Some(template) => (template.trim(), true),
                None => (other, false),
            },
        };
        (template.replace("\\t", "\t").replace("\\n", "\n"), tabular)
    }

    fn heading(&self) -> Value {
        Value::Object(
            self.headings
                .iter()
                .map(|(field, text)| ((*field).to_owned(), Value::from(*text)))
                .collect::<Map<_, _>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LISTING: Listing = Listing {
        table: "{{.Name}}\t{{.Size}}",
        quiet: "{{.ID}}",
        headings: &[("Name", "NAME"), ("Size", "SIZE"), ("ID", "THING ID")],
        methods: &["Label"],
    };

    fn check(format: Option<&str>, quiet: bool, expected: &str) {
        let rows = [
            json!({"ID": "1", "Name": "one", "Size": "1B", "Label": {"a.b-c": "x"}}),
            json!({"ID": "2", "Name": "two", "Size": "2B", "Label": {}}),
        ];
        assert_eq!(LISTING.render(format, quiet, &rows).as_deref(), Ok(expected), "{format:?}");
    }

    #[test]
    fn formats() {
        check(None, false, "NAME      SIZE\none       1B\ntwo       2B\n");
        check(Some("table"), true, "1\n2\n");
        check(
            Some("table {{.ID}}\\t{{upper .Name}}"),
            false,
            "THING ID   NAME\n1          ONE\n2          TWO\n",
        );
        check(Some("{{.Name}}:{{.Size}}"), false, "one:1B\ntwo:2B\n");
        check(
            Some("json"),
            false,
            "{\"ID\":\"1\",\"Name\":\"one\",\"Size\":\"1B\"}\n{\"ID\":\"2\",\"Name\":\"two\",\"Size\":\"2B\"}\n",
        );
        check(
            Some("table {{json .Name}}\\t{{.Label \"a.b-c\"}}"),
            false,
            "NAME      b c\n\"one\"     x\n\"two\"     \n",
        );
    }

    #[test]
    fn rows_as_json_are_safe_in_html() {
        let row = [json!({"Name": "<none> & more"})];
        let check = |format, expected| {
            assert_eq!(LISTING.render(Some(format), false, &row).as_deref(), Ok(expected));
        };
        check("json", "{\"Name\":\"\\u003cnone\\u003e \\u0026 more\"}\n");
        check("{{json .Name}}", "\"<none> & more\"\n");
    }

    #[test]
    fn faults() {
        let rendered = LISTING.render(Some("{{.No}}"), false, &[json!({"ID": "1"})]);
        assert!(rendered.is_err_and(|error| error.to_string().contains("can't evaluate field No")));
        assert_eq!(LISTING.render(Some("table {{.No}}"), false, &[]).as_deref(), Ok("<no value>\n"));
    }
}
