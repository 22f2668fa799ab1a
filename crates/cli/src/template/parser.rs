//! Tokens to syntax tree.

use super::error::TemplateError;
use super::functions;
use super::lexer::{self, Kind, Token};
use super::syntax::{Block, Command, Node, Operand, OperandKind, Pipeline, Tree};
use std::collections::BTreeMap;

/// Actions and parentheses nested deeper than this are refused: both are read by recursion.
const MAX_DEPTH: usize = 100;

/// Reads a template.
///
/// # Errors
/// The first fault of the template, as [`TemplateError::Syntax`].
pub(super) fn parse(source: &str) -> Result<Tree, TemplateError> {
    let tokens = lexer::tokens(source)?;
    let mut parser = Parser {
        source,
        tokens,
        at: 0,
        depth: 0,
        loops: 0,
        variables: vec!["$".to_owned()],
        defined: BTreeMap::new(),
    };
    let (root, end) = parser.block()?;
    match end {
        End::OfInput => Ok(Tree { root, defined: parser.defined }),
        other => Err(parser.fault(format!("unexpected {{{{{}}}}}", other.word()))),
    }
}

/// What ended a block.
enum End {
    OfInput,
    Block,
    Else,
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            Self::OfInput => "EOF",
            Self::Block => "end",
            Self::Else => "else",
        }
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    loops: usize,
    variables: Vec<String>,
    defined: BTreeMap<String, Block>,
}

impl Parser<'_> {
    /// Reads nodes up to `{{end}}`, `{{else}}` or the end of the input.
    ///
    /// After [`End::Else`] the parser stands behind the word `else`, since `if` or `with` may follow.
    fn block(&mut self) -> Result<(Block, End), TemplateError> {
        let mut block = Block::new();
        while let Some(token) = self.next() {
            if let Kind::Text(text) = token.kind {
                block.push(Node::Text(text));
                continue;
            }
            self.skip_space();
            match self.peek() {
                Some(Kind::Word(word)) if word == "end" => {
                    self.next();
                    self.close("end")?;
                    return Ok((block, End::Block));
                }
                Some(Kind::Word(word)) if word == "else" => {
                    self.next();
                    return Ok((block, End::Else));
                }
                _ => block.extend(self.action()?),
            }
        }
        Ok((block, End::OfInput))
    }

    fn action(&mut self) -> Result<Option<Node>, TemplateError> {
        let Some(Kind::Word(word)) = self.peek() else { return self.plain_action().map(Some) };
        match word.clone().as_str() {
            "if" => self.keyword().branch("if").map(Some),
            "with" => self.keyword().branch("with").map(Some),
            "range" => self.keyword().branch("range").map(Some),
            "define" => self.keyword().define().map(|()| None),
            "block" => self.keyword().inline_block().map(Some),
            "template" => self.keyword().template().map(Some),
            "break" => self.keyword().leave("break", Node::Break).map(Some),
            "continue" => self.keyword().leave("continue", Node::Continue).map(Some),
            _ => self.plain_action().map(Some),
        }
    }

    fn plain_action(&mut self) -> Result<Node, TemplateError> {
        let pipeline = self.pipeline("command")?;
        self.close("command")?;
        Ok(Node::Action(pipeline))
    }

    fn leave(&mut self, word: &str, node: Node) -> Result<Node, TemplateError> {
        if self.loops == 0 {
            return Err(self.fault(format!("{{{{{word}}}}} outside {{{{range}}}}")));
        }
        self.close(word)?;
        Ok(node)
    }

    /// `if`, `with` and `range`: a pipeline, a block, and perhaps what follows `else`.
    fn branch(&mut self, word: &'static str) -> Result<Node, TemplateError> {
        self.deeper()?;
        let scope = self.variables.len();
        let pipeline = self.pipeline(word)?;
        self.close(word)?;
        self.loops += usize::from(word == "range");
        let body = self.block();
        self.loops -= usize::from(word == "range");
        let (then, end) = body?;
        let otherwise = match end {
            End::OfInput => return Err(self.fault("unexpected EOF")),
            End::Block => Block::new(),
            End::Else => self.otherwise(word)?,
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(match word {
            "if" => Node::If { condition: pipeline, then, otherwise },
            "with" => Node::With { value: pipeline, then, otherwise },
            _ => Node::Range { over: pipeline, body: then, otherwise },
        })
    }

    /// What follows `else`: a block, or the same keyword again, which shares the `{{end}}`.
    fn otherwise(&mut self, word: &'static str) -> Result<Block, TemplateError> {
        self.skip_space();
        if word != "range" && matches!(self.peek(), Some(Kind::Word(next)) if next == word) {
            return Ok(vec![self.keyword().branch(word)?]);
        }
        self.close("else")?;
        let (block, end) = self.block()?;
        match end {
            End::Block => Ok(block),
            End::Else => Err(self.fault("expected end; found {{else}}")),
            End::OfInput => Err(self.fault("unexpected EOF")),
        }
    }

    fn define(&mut self) -> Result<(), TemplateError> {
        let name = self.name("define clause")?;
        self.close("define clause")?;
        self.definition(name, "define")
    }

    fn inline_block(&mut self) -> Result<Node, TemplateError> {
        self.skip_space();
        let offset = self.offset();
        let name = self.name("block clause")?;
        let argument = Some(self.pipeline("block")?);
        self.close("block clause")?;
        self.definition(name.clone(), "block")?;
        Ok(Node::Template { name, offset, argument })
    }

    /// The body of a template of its own: it sees no variable but `$`.
    fn definition(&mut self, name: String, clause: &str) -> Result<(), TemplateError> {
        self.deeper()?;
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (block, end) = self.block()?;
        self.variables = variables;
        self.loops = loops;
        self.depth -= 1;
        if !matches!(end, End::Block) {
            let found = if matches!(end, End::Else) { "{{else}}" } else { "EOF" };
            return Err(self.fault(format!("unexpected {found} in {clause} clause")));
        }
        self.defined.insert(name, block);
        Ok(())
    }

    fn template(&mut self) -> Result<Node, TemplateError> {
        self.skip_space();
        let offset = self.offset();
        let name = self.name("template clause")?;
        self.skip_space();
        let argument = match self.peek() {
            Some(Kind::Close) => None,
            _ => Some(self.pipeline("template clause")?),
        };
        self.close("template clause")?;
        Ok(Node::Template { name, offset, argument })
    }

    fn name(&mut self, clause: &str) -> Result<String, TemplateError> {
        self.skip_space();
        match self.next().map(|token| token.kind) {
            Some(Kind::Literal(lexer::Literal::Text(name))) => Ok(name),
            other => Err(self.unexpected(other.as_ref(), clause)),
        }
    }

    /// Reads up to `}}` or `)`, which stays.
    fn pipeline(&mut self, clause: &str) -> Result<Pipeline, TemplateError> {
        let (variables, assigns) = self.declaration(clause)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                Some(Kind::Close | Kind::RightParen) => break,
                Some(Kind::Pipe) if !commands.is_empty() => {
                    self.next();
                    commands.push(self.command(clause)?);
                }
                _ if commands.is_empty() => commands.push(self.command(clause)?),
                _ => return Err(self.unexpected_next(clause)),
            }
        }
        if commands.is_empty() {
            return Err(self.fault(format!("missing value for {clause}")));
        }
        self.check_pipeline(&commands)?;
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$a :=`, `$a =`, and in a range `$i, $v :=`.
    fn declaration(&mut self, clause: &str) -> Result<(Vec<String>, bool), TemplateError> {
        let start = self.at;
        let mut variables = Vec::new();
        loop {
            self.skip_space();
            let Some(Kind::Variable(name)) = self.peek() else { break };
            variables.push(name.clone());
            self.next();
            self.skip_space();
            match self.peek() {
                Some(Kind::Declare) => {
                    self.next();
                    return Ok((variables, false));
                }
                Some(Kind::Assign) => {
                    self.next();
                    return match variables.iter().find(|name| !self.variables.contains(name)) {
                        None => Ok((variables, true)),
                        Some(name) => Err(self.fault(format!("undefined variable {name:?}"))),
                    };
                }
                Some(Kind::Comma) if clause == "range" && variables.len() == 1 => {
                    self.next();
                }
                Some(Kind::Comma) => return Err(self.fault(format!("too many declarations in {clause}"))),
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    /// Only the first command of a pipeline may be a value that is no function.
    fn check_pipeline(&self, commands: &[Command]) -> Result<(), TemplateError> {
        let executable = |kind: &OperandKind| {
            matches!(kind, OperandKind::Function(_) | OperandKind::Field(_) | OperandKind::Variable(..))
                || matches!(kind, OperandKind::Parenthesis(..))
        };
        match commands.iter().skip(1).position(|command| !executable(&command.operands[0].kind)) {
            Some(stage) => Err(self.fault(format!("non executable command in pipeline stage {}", stage + 2))),
            None => Ok(()),
        }
    }

    fn command(&mut self, clause: &str) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        self.skip_space();
        let start = self.offset();
        loop {
            self.skip_space();
            match self.operand(clause)? {
                Some(operand) => operands.push(operand),
                None if operands.is_empty() => return Err(self.empty_command(clause)),
                None => {
                    let text = self.source[start..self.offset()].trim_end().to_owned();
                    return Ok(Command { operands, offset: start, text });
                }
            }
            let ends =
                matches!(self.peek(), Some(Kind::Space | Kind::Close | Kind::Pipe | Kind::RightParen) | None);
            if !ends {
                return Err(self.unexpected_next("operand"));
            }
        }
    }

    fn empty_command(&mut self, clause: &str) -> TemplateError {
        match self.peek() {
            Some(Kind::Close | Kind::RightParen) => self.fault(format!("missing value for {clause}")),
            _ => self.unexpected_next(clause),
        }
    }

    /// One word of a command with the fields behind it; none when the command ends here.
    fn operand(&mut self, clause: &str) -> Result<Option<Operand>, TemplateError> {
        let start = self.offset();
        let kind = match self.peek() {
            Some(Kind::Dot) => OperandKind::Dot,
            Some(Kind::Field(name)) => OperandKind::Field(vec![name.clone()]),
            Some(Kind::Literal(literal)) => OperandKind::Literal(literal.clone()),
            Some(Kind::Variable(name)) if self.variables.contains(name) => {
                OperandKind::Variable(name.clone(), Vec::new())
            }
            Some(Kind::Variable(name)) => return Err(self.fault(format!("undefined variable {name:?}"))),
            Some(Kind::Word(word)) => self.word(word, clause)?,
            Some(Kind::LeftParen) => return self.parenthesis(start).map(Some),
            _ => return Ok(None),
        };
        self.next();
        self.fields(kind, start).map(Some)
    }

    fn word(&self, word: &str, clause: &str) -> Result<OperandKind, TemplateError> {
        match word {
            "true" => Ok(OperandKind::Bool(true)),
            "false" => Ok(OperandKind::Bool(false)),
            "nil" => Ok(OperandKind::Nil),
            "if" | "else" | "end" | "range" | "with" | "define" | "template" | "block" | "break"
            | "continue" => Err(self.fault(format!("unexpected <{word}> in {clause}"))),
            name if functions::exists(name) => Ok(OperandKind::Function(name.to_owned())),
            name => Err(self.fault(format!("function {name:?} not defined"))),
        }
    }

    fn parenthesis(&mut self, start: usize) -> Result<Operand, TemplateError> {
        self.deeper()?;
        self.next();
        let pipeline = self.pipeline("parenthesized pipeline")?;
        match self.peek() {
            Some(Kind::RightParen) => self.next(),
            _ => return Err(self.fault("unclosed left paren")),
        };
        self.depth -= 1;
        self.fields(OperandKind::Parenthesis(Box::new(pipeline), Vec::new()), start)
    }

    /// Adds the `.a.b` that stand directly behind an operand.
    fn fields(&mut self, mut kind: OperandKind, start: usize) -> Result<Operand, TemplateError> {
        let mut offset = start;
        let mut first = true;
        while let Some(Kind::Field(name)) = self.peek().cloned() {
            match &mut kind {
                OperandKind::Field(path)
                | OperandKind::Variable(_, path)
                | OperandKind::Parenthesis(_, path) => path.push(name),
                OperandKind::Dot => return Err(self.fault(format!("unexpected .{name} after term \".\""))),
                _ => {
                    return Err(self
                        .fault(format!("unexpected . after term {:?}", &self.source[start..self.offset()])));
                }
            }
            if first {
                offset = self.offset();
                first = false;
            }
            self.next();
        }
        let text = self.source[start..self.offset()].trim_end().to_owned();
        Ok(Operand { kind, offset, text })
    }

    fn deeper(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.fault("nested too deeply")) } else { Ok(()) }
    }

    /// Steps over a keyword.
    fn keyword(&mut self) -> &mut Self {
        self.next();
        self
    }

    fn close(&mut self, clause: &str) -> Result<(), TemplateError> {
        self.skip_space();
        match self.peek() {
            Some(Kind::Close) => {
                self.next();
                Ok(())
            }
            _ => Err(self.unexpected_next(clause)),
        }
    }

    fn unexpected_next(&mut self, clause: &str) -> TemplateError {
        let found = self.peek().cloned();
        self.unexpected(found.as_ref(), clause)
    }

    fn unexpected(&self, found: Option<&Kind>, clause: &str) -> TemplateError {
        let found = match found {
            None => "EOF".to_owned(),
            Some(Kind::Word(word)) => format!("<{word}>"),
            Some(Kind::Field(name)) => format!("<.{name}>"),
            Some(Kind::Variable(name)) => format!("{name:?}"),
            Some(Kind::Literal(lexer::Literal::Text(text))) => format!("{text:?}"),
            Some(Kind::Literal(lexer::Literal::Integer(number))) => format!("\"{number}\""),
            Some(Kind::Literal(lexer::Literal::Float(number))) => format!("\"{number}\""),
            Some(Kind::Space) => "\" \"".to_owned(),
            Some(Kind::Dot) => "<.>".to_owned(),
            Some(Kind::Declare) => "\":=\"".to_owned(),
            Some(Kind::Assign) => "\"=\"".to_owned(),
            Some(Kind::Pipe) => "\"|\"".to_owned(),
            Some(Kind::Comma) => "\",\"".to_owned(),
            Some(Kind::LeftParen) => "\"(\"".to_owned(),
            Some(Kind::RightParen) => "right paren".to_owned(),
            Some(Kind::Open | Kind::Text(_)) => "\"{{\"".to_owned(),
            Some(Kind::Close) => "\"}}\"".to_owned(),
        };
        self.fault(format!("unexpected {found} in {clause}"))
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(Kind::Space)) {
            self.at += 1;
        }
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.at).map_or(self.source.len(), |token| token.offset)
    }

    fn fault(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::syntax(self.source, self.offset(), message)
    }
}
