//! How cost grows: whole commands of the release binary on contexts, stages, layers and stores of growing size.
//!
//! `cargo run -p xtask -- growth [FOLDER]` prints a table for `docs/performance.md` and draws `docs/growth.svg`. The
//! least of several runs counts: others who use the machine make a run longer, never shorter. The largest context has
//! 300,000 files: some gigabytes below FOLDER (default: the temporary directory) are needed, and some minutes.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::timed::timed;

/// Where the curves are drawn, in the workspace.
const PLOT: &str = "docs/growth.svg";
/// How often a command is run; the least counts.
const ROUNDS: usize = 5;

/// One picture: what grows, and how long what takes then.
struct Chart {
    title: &'static str,
    sizes: &'static [usize],
    /// What is done, with the milliseconds for each size.
    lines: Vec<(&'static str, Vec<f64>)>,
}

/// Measures everything, prints the table and draws the curves.
pub(crate) fn run(args: &[String]) -> Result<Vec<String>, Box<dyn Error>> {
    let program = fs::canonicalize(crate::bench::target_dir().join("release/lighter"))
        .map_err(|_| "there is no release binary: scripts/build")?;
    let above = args.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = above.join(format!("lighter-growth-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let bench = Growth { program, folder: folder.clone() };
    let charts = [bench.contexts(), bench.stages(), bench.layers(), bench.images()];
    fs::remove_dir_all(folder)?;
    let charts = charts.into_iter().collect::<Result<Vec<_>, _>>()?;
    for chart in &charts {
        crate::bench::say(&table(chart)?);
    }
    fs::write(PLOT, plot(&charts)?)?;
    Ok(Vec::new())
}

struct Growth {
    program: PathBuf,
    folder: PathBuf,
}

impl Growth {
    /// Files in the context: a build with nothing to do, and one with an edited file.
    fn contexts(&self) -> Result<Chart, Box<dyn Error>> {
        const SIZES: &[usize] = &[1_000, 10_000, 100_000, 300_000];
        let (mut same, mut edited) = (Vec::new(), Vec::new());
        for size in SIZES {
            let context = self.folder.join(format!("files-{size}"));
            for number in 0..*size {
                let folder = context.join(format!("m{}/p{}", number / 1000, number / 50 % 20));
                if number % 50 == 0 {
                    fs::create_dir_all(&folder)?;
                }
                fs::write(folder.join(format!("f{number}")), format!("{number}\n").repeat(20))?;
            }
            let file = self.file(&format!("files-{size}.Dockerfile"), "FROM scratch\nCOPY . /c/\n")?;
            let args = ["build", "-q", "-f", &file, &format!("files-{size}")];
            self.once(&args)?;
            same.push(self.least(|_| Ok(()), &args)?);
            let edit = |round: usize| Ok(fs::write(context.join("m0/p7/edited"), format!("{round} {size}"))?);
            edited.push(self.least(edit, &args)?);
        }
        let lines = vec![("nothing to do", same), ("one file edited", edited)];
        Ok(Chart { title: "files in the context", sizes: SIZES, lines })
    }

    /// Stages, each of which takes a file from the one before.
    fn stages(&self) -> Result<Chart, Box<dyn Error>> {
        const SIZES: &[usize] = &[1, 10, 100, 1_000];
        let text = |size: usize, round: usize| {
            let first = format!("FROM scratch AS s0\nCOPY some /{round}\n");
            let rest = (1..size).map(|number| {
                format!("FROM scratch AS s{number}\nCOPY --from=s{} /{round} /{round}\n", number - 1)
            });
            std::iter::once(first).chain(rest).collect::<String>()
        };
        self.rebuilt_and_fresh("stages", SIZES, text)
    }

    /// Layers below one command.
    fn layers(&self) -> Result<Chart, Box<dyn Error>> {
        const SIZES: &[usize] = &[1, 10, 100, 400];
        fs::copy(&self.program, self.folder("layers")?.join("program"))?;
        let text = |size: usize, round: usize| {
            let mut text = format!("FROM scratch\nCOPY program /{round}\n");
            text.extend((1..size).map(|number| format!("COPY some /{number}-{round}\n")));
            text + &format!("RUN [\"/{round}\", \"version\"]\n")
        };
        self.rebuilt_and_fresh("layers", SIZES, text)
    }

    fn rebuilt_and_fresh(
        &self,
        what: &'static str,
        sizes: &'static [usize],
        text: impl Fn(usize, usize) -> String,
    ) -> Result<Chart, Box<dyn Error>> {
        fs::write(self.folder(what)?.join("some"), what)?;
        let (mut same, mut fresh) = (Vec::new(), Vec::new());
        for size in sizes {
            let name = format!("{what}-{size}.Dockerfile");
            let file = self.file(&name, "")?;
            let args = ["build", "-q", "-f", &file, what];
            let renew = |round: usize| self.file(&name, &text(*size, round)).map(drop);
            fresh.push(self.least(renew, &args)?);
            same.push(self.least(|_| Ok(()), &args)?);
        }
        Ok(Chart { title: what, sizes, lines: vec![("nothing to do", same), ("all new", fresh)] })
    }

    /// Images in the store, beside the one that is built again.
    fn images(&self) -> Result<Chart, Box<dyn Error>> {
        const SIZES: &[usize] = &[10, 1_000, 5_000];
        fs::write(self.folder("images")?.join("some"), "some")?;
        let file = self.file("images.Dockerfile", "FROM scratch\nCOPY some /\n")?;
        let args = ["build", "-q", "-f", &file, "images"];
        let mut same = Vec::new();
        let mut made = 0;
        for size in SIZES {
            while made < *size {
                made += 1;
                let label = format!("number={made}");
                self.once(&[
                    "build",
                    "-q",
                    "-f",
                    &file,
                    "--label",
                    &label,
                    "-t",
                    &format!("i{made}"),
                    "images",
                ])?;
            }
            same.push(self.least(|_| Ok(()), &args)?);
        }
        Ok(Chart { title: "images in the store", sizes: SIZES, lines: vec![("nothing to do", same)] })
    }

    fn folder(&self, name: &str) -> Result<PathBuf, Box<dyn Error>> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn file(&self, name: &str, text: &str) -> Result<String, Box<dyn Error>> {
        fs::write(self.folder.join(name), text)?;
        Ok(name.to_owned())
    }

    fn least(
        &self,
        prepare: impl Fn(usize) -> Result<(), Box<dyn Error>>,
        args: &[&str],
    ) -> Result<f64, Box<dyn Error>> {
        let mut least = f64::INFINITY;
        for round in 0..ROUNDS {
            prepare(round)?;
            least = least.min(self.once(args)?);
        }
        Ok(least)
    }

    /// Runs a command, and says how many milliseconds it took.
    fn once(&self, args: &[&str]) -> Result<f64, Box<dyn Error>> {
        Ok(timed(&self.program, &self.folder, args)?.as_secs_f64() * 1e3)
    }
}

fn table(chart: &Chart) -> Result<String, std::fmt::Error> {
    let mut text = format!("| {} |", chart.title);
    for size in chart.sizes {
        write!(text, " {} |", grouped(*size))?;
    }
    write!(text, "\n| --- |{}", " --: |".repeat(chart.sizes.len()))?;
    for (name, times) in &chart.lines {
        write!(text, "\n| {name} |")?;
        for time in times {
            write!(text, " {} |", told(*time))?;
        }
    }
    Ok(text + "\n")
}

fn told(milliseconds: f64) -> String {
    match milliseconds {
        ..9.95 => format!("{milliseconds:.1} ms"),
        ..1_000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", milliseconds / 1e3),
    }
}

fn grouped(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}

/// One picture's size, margins included.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 240.0;
const MARGIN: f64 = 56.0;
const COLOURS: [&str; 2] = ["#1f77b4", "#d62728"];

/// Draws all charts beside each other, times logarithmic.
#[expect(clippy::cast_precision_loss, reason = "a few places in a picture")]
fn plot(charts: &[Chart]) -> Result<String, std::fmt::Error> {
    let width = WIDTH * 2.0;
    let height = HEIGHT * (charts.len().div_ceil(2)) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (place, chart) in charts.iter().enumerate() {
        let (left, top) = ((place % 2) as f64 * WIDTH, (place / 2) as f64 * HEIGHT);
        writeln!(svg, "<g transform=\"translate({left} {top})\">")?;
        draw(&mut svg, chart)?;
        svg.push_str("</g>\n");
    }
    Ok(svg + "</svg>\n")
}

#[expect(clippy::cast_precision_loss, reason = "a few places in a picture")]
fn draw(svg: &mut String, chart: &Chart) -> std::fmt::Result {
    let all = || chart.lines.iter().flat_map(|(_, times)| times.iter().copied());
    let low = all().fold(f64::INFINITY, f64::min).log10().floor();
    let high = all().fold(0.0, f64::max).log10().ceil().max(low + 1.0);
    let places = chart.sizes.len().saturating_sub(1).max(1) as f64;
    let x = |place: usize| MARGIN + place as f64 / places * (WIDTH - 2.0 * MARGIN);
    let y = |time: f64| HEIGHT - MARGIN - (time.log10() - low) / (high - low) * (HEIGHT - 2.0 * MARGIN);
    writeln!(svg, "<text x=\"{MARGIN}\" y=\"20\" font-weight=\"bold\">{}</text>", chart.title)?;
    let mut decade = low;
    while decade <= high {
        let (time, at) = (10_f64.powf(decade), y(10_f64.powf(decade)));
        writeln!(
            svg,
            "<line x1=\"{MARGIN}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>",
            WIDTH - MARGIN
        )?;
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{time} ms</text>",
            MARGIN - 4.0,
            at + 4.0
        )?;
        decade += 1.0;
    }
    for (place, size) in chart.sizes.iter().enumerate() {
        let (x, y) = (x(place), HEIGHT - MARGIN + 16.0);
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.0}\" text-anchor=\"middle\">{}</text>", grouped(*size))?;
    }
    for (number, ((name, times), colour)) in chart.lines.iter().zip(COLOURS).enumerate() {
        let points: Vec<String> = times
            .iter()
            .enumerate()
            .map(|(place, time)| format!("{:.1},{:.1}", x(place), y(*time)))
            .collect();
        writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            points.join(" ")
        )?;
        let at = HEIGHT - 10.0;
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{at}\" fill=\"{colour}\">{name}</text>",
            MARGIN + 130.0 * number as f64
        )?;
    }
    Ok(())
}
