//! The plots of docs/scale.md.

use std::ops::Range;

use anyhow::anyhow;
use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    prelude::*,
};

use crate::record::{Record, Row};

const SIZE: (u32, u32) = (820, 460);
const TEXT: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// A set of colours that people with any kind of colour vision can tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(40, 40, 40),
];
/// What is less is drawn as if it were so much, since a logarithmic axis has no zero.
const LEAST_RATE: f64 = 1e-4;
/// Room for the names of lines above 100 %.
const ABOVE_LINES: f64 = 125.0;

/// A line: its name, and its points.
type Line = (String, Vec<(f64, f64)>);

/// A plot, by the name of its file.
pub type Plot = (&'static str, String);

/// What a plot shows, and how.
struct Shape<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    /// How a value of the second axis is written.
    y_label: fn(&f64) -> String,
}

/// All plots.
///
/// # Errors
/// One can't be drawn.
pub fn plots(record: &Record) -> anyhow::Result<Vec<Plot>> {
    Ok(vec![
        ("refused.svg", refused(record)?),
        ("conflicts.svg", conflicts(record)?),
        ("dollars.svg", dollars(record)?),
        ("start.svg", start(record)?),
    ])
}

fn line(name: &str, rows: &[Row], y: impl Fn(&Row) -> f64) -> Line {
    (name.to_owned(), rows.iter().map(|row| (row.clients, y(row))).collect())
}

fn refused(record: &Record) -> anyhow::Result<String> {
    let part = |row: &Row| 100.0 * row.figures.refused();
    let lines = [
        line("the template's defaults", &record.template, part),
        line("quotas of a new account", &record.new_account, part),
        line("raised quotas, skewed keys", &record.raised, part),
        line("raised quotas, all under one key", &record.one_key, part),
    ];
    let shape = Shape {
        title: "Updates that are refused",
        x: "clients, each reporting every 5 minutes",
        y: "% of all updates",
        y_label: |percent| if *percent > 100.0 { String::new() } else { format!("{percent:.0}") },
    };
    draw(&shape, &lines, |area, shape, lines| by_clients(area, shape, lines, 0.0..ABOVE_LINES))
}

fn conflicts(record: &Record) -> anyhow::Result<String> {
    let conflicts = |row: &Row| row.figures.conflicts.max(LEAST_RATE);
    let throttles = |row: &Row| row.figures.throttles.max(LEAST_RATE);
    let lines = [
        line("conflicts, skewed keys", &record.raised, conflicts),
        line("throttles, skewed keys", &record.raised, throttles),
        line("conflicts, all under one key", &record.one_key, conflicts),
        line("throttles, all under one key", &record.one_key, throttles),
    ];
    let shape = Shape {
        title: "Attempts that fail, with raised quotas",
        x: "clients, each reporting every 5 minutes",
        y: "for each counted update; 0 is drawn as 0.0001",
        y_label: |rate| format!("{rate}"),
    };
    draw(&shape, &lines, |area, shape, lines| {
        by_clients(area, shape, lines, (LEAST_RATE * 0.7..100.0).log_scale())
    })
}

fn dollars(record: &Record) -> anyhow::Result<String> {
    let lines = [
        line("together", &record.raised, |row| row.costs.together),
        line("DynamoDB", &record.raised, |row| row.costs.dynamodb),
        line("API", &record.raised, |row| row.costs.api),
        line("Lambda", &record.raised, |row| row.costs.lambda),
        line("logs", &record.raised, |row| row.costs.logs),
        line("together, in batches of 100", &record.batches, |row| row.costs.together),
    ];
    let shape = Shape {
        title: "Costs, with raised quotas",
        x: "clients, each reporting every 5 minutes",
        y: "dollars a month",
        y_label: |dollars| format!("${}", short(*dollars)),
    };
    draw(&shape, &lines, |area, shape, lines| {
        by_clients(area, shape, lines, (1.0..1e7).log_scale())
    })
}

fn start(record: &Record) -> anyhow::Result<String> {
    let Some(row) = record.start.iter().max_by(|a, b| a.clients.total_cmp(&b.clients)) else {
        return Err(anyhow!("no start was simulated"));
    };
    let course = |y: fn(&crate::figures::Moment) -> f64| -> Vec<(f64, f64)> {
        row.figures.course.iter().map(|moment| (moment.at / 60.0, y(moment))).collect()
    };
    let lines = [
        ("counted".to_owned(), course(|moment| moment.counted)),
        ("refused".to_owned(), course(|moment| moment.refused)),
        ("throttled requests".to_owned(), course(|moment| moment.throttles)),
        ("conflicts".to_owned(), course(|moment| moment.conflicts)),
    ];
    let title = format!("{} new clients meet a new table of 4 partitions", short(row.clients));
    let shape = Shape { title: &title, x: "minutes", y: "a second", y_label: |rate| short(*rate) };
    let most = lines.iter().flat_map(|(_, points)| points).map(|(_, y)| *y).fold(1.0, f64::max);
    let minutes = row.figures.course.last().map_or(1.0, |moment| moment.at / 60.0);
    draw(&shape, &lines, |area, shape, lines| {
        let mut chart = builder(area, shape)
            .build_cartesian_2d(0.0..minutes, 0.0..1.1 * most)
            .map_err(failed)?;
        let mut mesh = chart.configure_mesh();
        let mesh = mesh.x_labels(11).y_labels(8).light_line_style(WHITE).bold_line_style(GRID);
        mesh.axis_style(TEXT).label_style(("sans-serif", 14).into_font().color(&TEXT));
        mesh.axis_desc_style(("sans-serif", 15).into_font().color(&TEXT));
        mesh.x_desc(shape.x).y_desc(shape.y).x_label_formatter(&|x| format!("{x:.0}"));
        mesh.y_label_formatter(&shape.y_label).draw().map_err(failed)?;
        for ((name, points), colour) in lines.iter().zip(COLOURS) {
            let series = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            let drawn = chart.draw_series(series).map_err(failed)?;
            drawn.label(name).legend(move |at| key(at, colour));
        }
        let mut labels = chart.configure_series_labels();
        labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.85));
        labels.border_style(GRID).label_font(("sans-serif", 14).into_font().color(&TEXT));
        labels.draw().map_err(failed)
    })
}

/// A drawing area of an image.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot can't be drawn: {error}")
}

fn draw(
    shape: &Shape<'_>,
    lines: &[Line],
    chart: impl FnOnce(&Area<'_>, &Shape<'_>, &[Line]) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        // A page of its own, readable on a light page and on a dark one.
        area.fill(&WHITE).map_err(failed)?;
        chart(&area, shape, lines)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn builder<'a, 'b>(area: &'a Area<'b>, shape: &Shape<'_>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(shape.title, ("sans-serif", 20).into_font().color(&TEXT))
        .margin(14)
        .margin_right(34)
        .x_label_area_size(46)
        .y_label_area_size(74);
    builder
}

fn key((x, y): (i32, i32), colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(3))
}

/// Lines over the number of clients.
fn by_clients<Y>(area: &Area<'_>, shape: &Shape<'_>, lines: &[Line], y: Y) -> anyhow::Result<()>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let clients: Range<f64> = 1e4..1e8;
    let mut chart =
        builder(area, shape).build_cartesian_2d(clients.log_scale(), y).map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    let mesh = mesh.x_labels(5).y_labels(8).light_line_style(WHITE).bold_line_style(GRID);
    mesh.axis_style(TEXT).label_style(("sans-serif", 14).into_font().color(&TEXT));
    mesh.axis_desc_style(("sans-serif", 15).into_font().color(&TEXT));
    mesh.x_desc(shape.x).y_desc(shape.y).x_label_formatter(&|clients| short(*clients));
    mesh.y_label_formatter(&shape.y_label).draw().map_err(failed)?;
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        let series = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        let drawn = chart.draw_series(series).map_err(failed)?;
        drawn.label(name).legend(move |at| key(at, colour));
        let dots = points.iter().map(|at| Circle::new(*at, 3, colour.filled()));
        chart.draw_series(dots).map_err(failed)?;
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.85));
    labels.border_style(GRID).label_font(("sans-serif", 14).into_font().color(&TEXT));
    labels.draw().map_err(failed)
}

/// `10 k`, `1.5 M`
#[must_use]
pub fn short(number: f64) -> String {
    let (number, unit) = match number {
        number if number >= 1e6 => (number / 1e6, " M"),
        number if number >= 1e3 => (number / 1e3, " k"),
        number => (number, ""),
    };
    let digits = if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") };
    format!("{}{unit}", digits.strip_suffix(".0").unwrap_or(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (7.0, "7"),
            (1e4, "10 k"),
            (1_500.0, "1.5 k"),
            (3e7, "30 M"),
            (1e8, "100 M"),
        ];
        for (number, expected) in cases {
            assert_eq!(short(number), expected);
        }
    }
}
