//! Renders a syntax tree over a value.

use super::datum::{Datum, Schema, Unreadable};
use super::error::TemplateError;
use super::lexer::Literal;
use super::syntax::{Block, Command, Node, Operand, OperandKind, Pipeline, Tree};
use super::{format, functions};
use serde_json::{Number, Value};

/// Templates that call templates deeper than this are refused, as a template may call itself.
const MAX_CALLS: usize = 200;

/// Renders `tree` with `dot`.
///
/// # Errors
/// [`TemplateError::Execution`] where the template does not fit the value.
pub(super) fn render(
    tree: &Tree,
    source: &str,
    dot: &Value,
    schema: &Schema,
) -> Result<String, TemplateError> {
    let dot = Datum::root(dot, schema);
    let mut executor = Executor {
        tree,
        source,
        schema,
        calls: 0,
        output: String::new(),
        variables: vec![("$".to_owned(), dot.clone())],
    };
    executor.block(&tree.root, &dot)?;
    Ok(executor.output)
}

/// How a block ended.
enum Flow {
    Onward,
    Break,
    Continue,
}

struct Executor<'a> {
    tree: &'a Tree,
    source: &'a str,
    schema: &'a Schema,
    calls: usize,
    output: String,
    variables: Vec<(String, Datum<'a>)>,
}

impl<'a> Executor<'a> {
    fn block(&mut self, block: &'a Block, dot: &Datum<'a>) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        for node in block {
            match self.node(node, dot)? {
                Flow::Onward => {}
                leave => {
                    self.variables.truncate(scope);
                    return Ok(leave);
                }
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::Onward)
    }

    fn node(&mut self, node: &'a Node, dot: &Datum<'a>) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.output.push_str(&format::display(&value, self.schema));
                }
            }
            Node::If { condition, then, otherwise } => {
                let scope = self.variables.len();
                let chosen = if self.pipeline(condition, dot)?.truth() { then } else { otherwise };
                let flow = self.block(chosen, dot);
                self.variables.truncate(scope);
                return flow;
            }
            Node::With { value, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipeline(value, dot)?;
                let flow = if value.truth() { self.block(then, &value) } else { self.block(otherwise, dot) };
                self.variables.truncate(scope);
                return flow;
            }
            Node::Range { over, body, otherwise } => return self.range(over, body, otherwise, dot),
            Node::Template { name, offset, argument } => {
                self.template(name, *offset, argument.as_ref(), dot)?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Onward)
    }

    fn range(
        &mut self,
        over: &'a Pipeline,
        body: &'a Block,
        otherwise: &'a Block,
        dot: &Datum<'a>,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let collection = self.value_of(over, dot)?;
        let entries = self.entries(over, &collection)?;
        if entries.is_empty() {
            let flow = self.block(otherwise, dot);
            self.variables.truncate(scope);
            return flow;
        }
        for (key, value) in entries {
            self.bind_entry(over, key, &value);
            let flow = self.block(body, &value);
            if !over.assigns {
                self.variables.truncate(scope);
            }
            if let Flow::Break = flow? {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::Onward)
    }

    /// What a range goes through: key and value, maps in the order of their keys.
    fn entries(
        &self,
        over: &Pipeline,
        collection: &Datum<'a>,
    ) -> Result<Vec<(Value, Datum<'a>)>, TemplateError> {
        match &*collection.value {
            Value::Array(list) => {
                Ok((0..list.len()).map(|at| (Value::from(at), collection.element(at))).collect())
            }
            Value::Object(map) => {
                let mut keys: Vec<_> = map.keys().collect();
                keys.sort();
                let entry = |key: &String| Some((Value::from(key.as_str()), collection.entry(key)?));
                Ok(keys.into_iter().filter_map(entry).collect())
            }
            Value::Number(number) if number.is_u64() => {
                let count = number.as_u64().unwrap_or(0);
                Ok((0..count.min(1_000_000)).map(|n| (Value::from(n), Value::from(n).into())).collect())
            }
            Value::Null => Ok(Vec::new()),
            _ => {
                let message =
                    format!("range can't iterate over {}", format::display(collection, self.schema));
                Err(self.fault(&over.commands[0].operands[0], message))
            }
        }
    }

    fn bind_entry(&mut self, over: &Pipeline, key: Value, value: &Datum<'a>) {
        let mut bound = Vec::new();
        match over.variables.as_slice() {
            [] => {}
            [only] => bound.push((only.clone(), value.clone())),
            [index, element, ..] => {
                bound.push((index.clone(), key.into()));
                bound.push((element.clone(), value.clone()));
            }
        }
        for (name, datum) in bound {
            self.bind(name, datum, over.assigns);
        }
    }

    fn bind(&mut self, name: String, datum: Datum<'a>, assigns: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| assigns && *known == name) {
            Some((_, slot)) => *slot = datum,
            None => self.variables.push((name, datum)),
        }
    }

    fn template(
        &mut self,
        name: &str,
        offset: usize,
        argument: Option<&'a Pipeline>,
        dot: &Datum<'a>,
    ) -> Result<(), TemplateError> {
        let fault = |message: String| {
            TemplateError::execution(self.source, offset, &format!("{{{{template {name:?}}}}}"), message)
        };
        let Some(block) = self.tree.defined.get(name) else {
            return Err(fault(format!("template {name:?} not defined")));
        };
        if self.calls == MAX_CALLS {
            return Err(fault(format!("exceeded maximum template depth ({MAX_CALLS})")));
        }
        let dot = match argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Datum::missing(),
        };
        self.calls += 1;
        let variables = std::mem::replace(&mut self.variables, vec![("$".to_owned(), dot.clone())]);
        let done = self.block(block, &dot);
        self.variables = variables;
        self.calls -= 1;
        done.map(drop)
    }

    /// Evaluates a pipeline and sets its variables.
    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Datum<'a>) -> Result<Datum<'a>, TemplateError> {
        let value = self.value_of(pipeline, dot)?;
        for name in &pipeline.variables {
            self.bind(name.clone(), value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn value_of(&mut self, pipeline: &'a Pipeline, dot: &Datum<'a>) -> Result<Datum<'a>, TemplateError> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or_else(Datum::missing))
    }

    fn command(
        &mut self,
        command: &'a Command,
        piped: Option<Datum<'a>>,
        dot: &Datum<'a>,
    ) -> Result<Datum<'a>, TemplateError> {
        let (first, rest) = command.operands.split_first().expect("the parser makes no empty command");
        match &first.kind {
            OperandKind::Function(name) => self.call(name, rest, piped, dot, (command.offset, &command.text)),
            OperandKind::Field(path) if piped.is_some() || !rest.is_empty() => {
                let mut arguments = self.operands(rest, dot)?;
                arguments.extend(piped);
                self.method(first, path, &arguments, dot)
            }
            OperandKind::Nil => Err(self.fault(first, "nil is not a command")),
            _ if piped.is_some() || !rest.is_empty() => {
                Err(self.fault(first, format!("can't give argument to non-function {}", first.text)))
            }
            _ => self.operand(first, dot),
        }
    }

    fn call(
        &mut self,
        name: &str,
        rest: &'a [Operand],
        piped: Option<Datum<'a>>,
        dot: &Datum<'a>,
        place: (usize, &str),
    ) -> Result<Datum<'a>, TemplateError> {
        if matches!(name, "and" | "or") {
            return self.choose(name, rest, piped, dot, place);
        }
        let mut arguments = self.operands(rest, dot)?;
        arguments.extend(piped);
        self.apply(name, &arguments, place)
    }

    /// `and` and `or`, which look at no more operands than they need.
    fn choose(
        &mut self,
        name: &str,
        rest: &'a [Operand],
        piped: Option<Datum<'a>>,
        dot: &Datum<'a>,
        place: (usize, &str),
    ) -> Result<Datum<'a>, TemplateError> {
        let mut last = None;
        for operand in rest {
            let value = self.operand(operand, dot)?;
            if value.truth() == (name == "or") {
                return Ok(value);
            }
            last = Some(value);
        }
        match piped.or(last) {
            Some(value) => Ok(value),
            None => self.apply(name, &[], place),
        }
    }

    fn apply(
        &self,
        name: &str,
        arguments: &[Datum<'a>],
        (offset, text): (usize, &str),
    ) -> Result<Datum<'a>, TemplateError> {
        functions::call(name, arguments, self.schema)
            .map_err(|message| TemplateError::execution(self.source, offset, text, message))
    }

    fn operands(
        &mut self,
        operands: &'a [Operand],
        dot: &Datum<'a>,
    ) -> Result<Vec<Datum<'a>>, TemplateError> {
        operands.iter().map(|operand| self.operand(operand, dot)).collect()
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Datum<'a>) -> Result<Datum<'a>, TemplateError> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Null.into()),
            OperandKind::Bool(truth) => Ok((*truth).into()),
            OperandKind::Literal(literal) => Ok(constant(literal).into()),
            OperandKind::Function(name) => self.call(name, &[], None, dot, (operand.offset, &operand.text)),
            OperandKind::Field(path) => self.walk(operand, dot.clone(), path),
            OperandKind::Variable(name, path) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = known.map(|(_, value)| value.clone());
                let value =
                    value.ok_or_else(|| self.fault(operand, format!("undefined variable: {name}")))?;
                self.walk(operand, value, path)
            }
            OperandKind::Parenthesis(pipeline, path) => {
                let value = self.pipeline(pipeline, dot)?;
                self.walk(operand, value, path)
            }
        }
    }

    /// A field that is called with arguments: one that holds a map and is given a key.
    fn method(
        &self,
        operand: &Operand,
        path: &[String],
        arguments: &[Datum<'a>],
        dot: &Datum<'a>,
    ) -> Result<Datum<'a>, TemplateError> {
        let last = path.last().map_or("", String::as_str);
        if let (true, true, [key]) = (self.schema.heading, self.schema.methods.contains(&last), arguments) {
            return Ok(heading_of(key.text().unwrap_or_default()).into());
        }
        let found = self.walk(operand, dot.clone(), path)?;
        match (self.schema.methods.contains(&last), arguments) {
            (true, [key]) => match key.text() {
                Some(key) => Ok(found.entry(key).unwrap_or_else(|| String::new().into())),
                None => Err(self
                    .fault(operand, format!("expected string; found {}", format::display(key, self.schema)))),
            },
            (true, _) => {
                let message = format!("wrong number of args for {last}: want 1 got {}", arguments.len());
                Err(self.fault(operand, message))
            }
            (false, _) => Err(self.fault(operand, format!("{last} is not a method but has arguments"))),
        }
    }

    fn walk(&self, operand: &Operand, start: Datum<'a>, path: &[String]) -> Result<Datum<'a>, TemplateError> {
        let mut value = start;
        for name in path {
            value = value.field(name, self.schema).map_err(|why| {
                let message = match why {
                    Unreadable::NoField if self.schema.row => {
                        format!("can't evaluate field {name} in type row")
                    }
                    Unreadable::NoField => format!("map has no entry for key {name:?}"),
                    Unreadable::NoFields => {
                        format!("can't evaluate field {name} in type {}", value.type_name())
                    }
                    Unreadable::Nil => format!("nil pointer evaluating interface {{}}.{name}"),
                };
                self.fault(operand, message)
            })?;
        }
        Ok(value)
    }

    fn fault(&self, operand: &Operand, message: impl Into<String>) -> TemplateError {
        TemplateError::execution(self.source, operand.offset, &operand.text, message)
    }
}

/// The heading of a column that shows one label: the last part of its name.
fn heading_of(key: &str) -> String {
    key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " ")
}

fn constant(literal: &Literal) -> Value {
    match literal {
        Literal::Text(text) => Value::from(text.as_str()),
        Literal::Integer(number) => Value::from(*number),
        Literal::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
    }
}
