//! Smooth shapes as signed functions of a point: negative inside, about the distance in mm near the surface.
//!
//! None of them rises by more than [`STEEPEST`] per mm, so one value bounds the shape in a whole ball.

/// A point or vector: right, anterior, superior, in mm.
pub(super) type Vector = [f64; 3];

/// Greatest slope of the vertebra's signed function (the shapes' own is 1; waists and roughness add to it).
pub(super) const STEEPEST: f64 = 1.4;

pub(super) fn minus(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Vector, b: Vector) -> Vector {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

fn unit(a: Vector) -> Vector {
    let length = dot(a, a).sqrt();
    a.map(|entry| entry / length)
}

/// Returns the smaller of both, rounded off over `width` mm where they are about equal: a union with a fillet.
///
/// Quadratic polynomial smooth minimum (Quilez, "smooth minimum").
pub(super) fn union(a: f64, b: f64, width: f64) -> f64 {
    let blend = (width - (a - b).abs()).max(0.0);
    a.min(b) - blend * blend / (4.0 * width)
}

/// Returns the larger of both, rounded off over `width` mm: an intersection with a rounded edge.
pub(super) fn intersection(a: f64, b: f64, width: f64) -> f64 {
    -union(-a, -b, width)
}

/// A straight bar of elliptic cross-section that may taper: the processes, the pedicles, the laminae.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    start: Vector,
    along: Vector,
    length: f64,
    first: Vector,
    second: Vector,
    /// Semi-axes of the cross-section along `first` and `second`, at the start and at the end.
    radii: [[f64; 2]; 2],
}

impl Bar {
    /// Makes the bar from `start` to `end` whose first semi-axis lies as near to `towards` as it can.
    ///
    /// The rounded ends reach beyond both points by the geometric mean of the semi-axes.
    pub(super) fn new(start: Vector, end: Vector, towards: Vector, radii: [[f64; 2]; 2]) -> Self {
        let span = minus(end, start);
        let length = dot(span, span).sqrt();
        let along = unit(span);
        let second = unit(cross(along, towards));
        let first = cross(second, along);
        Self {
            start,
            along,
            length,
            first,
            second,
            radii,
        }
    }

    pub(super) fn at(&self, point: Vector) -> f64 {
        let offset = minus(point, self.start);
        let place = dot(offset, self.along);
        let share = (place / self.length).clamp(0.0, 1.0);
        let radius = |axis: usize| self.radii[0][axis] + share * (self.radii[1][axis] - self.radii[0][axis]);
        let (first, second) = (radius(0), radius(1));
        let least = first.min(second);
        let beyond = place - share * self.length;
        let square = (dot(offset, self.first) / first).powi(2)
            + (dot(offset, self.second) / second).powi(2)
            + beyond * beyond / (first * second);
        (square.sqrt() - 1.0) * least
    }

    /// Returns the corners of a box that holds the bar.
    pub(super) fn bounds(&self) -> [Vector; 2] {
        let most = self.radii.iter().flatten().copied().fold(0.0, f64::max);
        let end = [0, 1, 2].map(|axis: usize| self.start[axis] + self.length * self.along[axis]);
        [
            [0, 1, 2].map(|axis: usize| self.start[axis].min(end[axis]) - most),
            [0, 1, 2].map(|axis: usize| self.start[axis].max(end[axis]) + most),
        ]
    }
}

/// The vertebral body: kidney-shaped across, waisted, with dished end plates that may be wedged.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// Half the width of the lower and the upper end plate.
    pub(super) half_widths: [f64; 2],
    /// Half the depth of the end plates.
    pub(super) half_depth: f64,
    /// Half the height in the middle.
    pub(super) half_height: f64,
    /// How much half the height grows per mm to the front.
    pub(super) wedge: f64,
    /// Share by which the body is narrower half-way between its end plates, at the sides and in front.
    pub(super) waist: f64,
    /// Depth of the hollow in the back wall.
    pub(super) hollow: f64,
    /// Depth of the hollows in the end plates.
    pub(super) dish: f64,
}

/// How far behind its middle the body is widest, in mm.
const WIDEST_BEHIND: f64 = 3.5;
/// How far the ellipse of the cross-section would reach behind the back wall that cuts it, in mm.
const CUT_BEHIND: f64 = 4.0;
/// Rounding of the corners of the back wall, in mm.
const CORNER: f64 = 7.0;
/// Rounding of the end plates' rims, in mm.
const RIM: f64 = 3.0;

impl Body {
    pub(super) fn at(&self, [x, y, z]: Vector) -> f64 {
        let half_height =
            (self.half_height + self.wedge * y.clamp(-self.half_depth, self.half_depth)).max(1.0);
        let level = (z / half_height).clamp(-1.0, 1.0);
        let narrowing = self.waist * (1.0 - level * level);
        let [lower, upper] = self.half_widths;
        let across = x / ((lower + (upper - lower) * (level + 1.0) / 2.0) * (1.0 - narrowing));
        let forward = y + WIDEST_BEHIND;
        let reach = if forward >= 0.0 {
            (self.half_depth + WIDEST_BEHIND) * (1.0 - 0.7 * narrowing)
        } else {
            self.half_depth - WIDEST_BEHIND + CUT_BEHIND
        };
        let norm = (across * across + (forward / reach).powi(2)).sqrt();
        let ellipse = (norm - 1.0) * (self.half_depth - WIDEST_BEHIND + CUT_BEHIND);
        let hollow = self.hollow * (1.0 - (across / 0.65).powi(2)).max(0.0);
        let back_wall = -y - self.half_depth * (1.0 - 0.4 * narrowing) + hollow;
        let radial = intersection(ellipse, back_wall, CORNER);
        let dish = self.dish * (1.0 - (norm / 0.85).powi(2)).max(0.0);
        intersection(radial, z.abs() - half_height + dish, RIM)
    }
}

/// The vertebral canal: a tube, rounded in front and narrower behind.
#[derive(Debug, Clone)]
pub(super) struct Canal {
    /// Half the width where it is widest.
    pub(super) half_width: f64,
    /// Half the depth.
    pub(super) half_depth: f64,
    /// Where its middle lies, to the front.
    pub(super) middle: f64,
}

impl Canal {
    pub(super) fn at(&self, [x, y, _]: Vector) -> f64 {
        let depth = (y - self.middle) / self.half_depth;
        let half_width = self.half_width * (1.0 + 0.45 * depth.clamp(-1.2, 0.0));
        let norm = ((x / half_width).powi(2) + depth * depth).sqrt();
        (norm - 1.0) * 0.9 * self.half_depth.min(0.55 * self.half_width)
    }
}
