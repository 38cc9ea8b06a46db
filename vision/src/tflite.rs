//! One model in one TensorFlow Lite interpreter: XNNPACK, one thread, buffers that live as long as it does.
//!
//! The only file with unsafe code. `tflitec` ties an interpreter to a borrowed model and copies names and shapes on
//! every look at a tensor; here an [`Engine`] owns all three and writes and reads the tensors in place, so that a frame
//! costs no allocation.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::sync::Arc;

use tflitec::interpreter::{Interpreter, Options};
use tflitec::model::Model;
use tflitec::tensor::{DataType, Tensor};

use crate::affine::Affine;
use crate::frame::{FrameView, PixelFormat};
use crate::manifest::{Entry, Input, Kind, Order};
use crate::warp::{Tint, warp};

/// What TensorFlow Lite asks of a model's address.
const ALIGNMENT: usize = 64;

/// A model file's bytes at an aligned address.
pub(crate) struct Bytes {
    buffer: Vec<u8>,
    start: usize,
    length: usize,
}

impl Bytes {
    pub(crate) fn new(content: &[u8]) -> Bytes {
        let mut buffer = vec![0; content.len() + ALIGNMENT];
        let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        buffer[start..start + content.len()].copy_from_slice(content);
        Bytes { buffer, start, length: content.len() }
    }

    fn as_slice(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.length]
    }
}

/// Why a model cannot be run.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum EngineError {
    #[error("TensorFlow Lite refuses it: {0}")]
    Refused(String),
    #[error("its {tensor} is {found}, the manifest says {expected}")]
    Tensor { tensor: String, expected: String, found: String },
    #[error("TensorFlow Lite fails to run it")]
    Invoke,
}

/// Kernels to use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// Fast ones; weights are repacked when the engine is made.
    Xnnpack,
    /// Plain ones: quick to make, for looking at tensors only.
    Reference,
}

/// A model ready to run.
pub(crate) struct Engine {
    width: usize,
    height: usize,
    input: Writer,
    outputs: Vec<Reader>,
    interpreter: ManuallyDrop<Interpreter<'static>>,
    model: *mut Model<'static>,
    _bytes: Arc<Bytes>,
}

// SAFETY: the raw pointers lead into memory that this value owns alone (model, interpreter) or shares unchanged (bytes);
// nothing in TensorFlow Lite is bound to a thread, and `&mut self` keeps two threads from running it at once.
unsafe impl Send for Engine {}

impl Engine {
    /// Loads the model and checks its tensors against the manifest.
    pub(crate) fn new(entry: &Entry, bytes: &Arc<Bytes>, kernels: Kernels) -> Result<Engine, EngineError> {
        // SAFETY: `Bytes` never changes its content or address, and `_bytes` keeps it until after the model is dropped.
        let content: &'static [u8] = unsafe { std::slice::from_raw_parts(bytes.as_slice().as_ptr(), bytes.length) };
        let model = Model::from_bytes(content).map_err(refused)?;
        let model = Box::into_raw(Box::new(model));
        // SAFETY: the box is freed in `Model`'s guard below or in `drop`, after the interpreter that borrows it.
        let borrowed: &'static Model<'static> = unsafe { &*model };
        let guard = ModelGuard(model);
        let options = Options { thread_count: 1, is_xnnpack_enabled: kernels == Kernels::Xnnpack };
        let interpreter = Interpreter::new(borrowed, Some(options)).map_err(refused)?;
        interpreter.allocate_tensors().map_err(refused)?;
        let input = Writer::new(&interpreter, &entry.input)?;
        let mut outputs = Vec::new();
        for index in 0..interpreter.output_tensor_count() {
            outputs.push(Reader::new(&interpreter.output(index).map_err(refused)?)?);
        }
        for output in &entry.outputs {
            check_output(&interpreter, output.index, &output.shape, output.kind)?;
        }
        std::mem::forget(guard);
        Ok(Engine {
            width: entry.input.width,
            height: entry.input.height,
            input,
            outputs,
            interpreter: ManuallyDrop::new(interpreter),
            model,
            _bytes: Arc::clone(bytes),
        })
    }

    /// Width and height of the input.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Writes the frame, seen through `inverse` (input pixels to frame), into the input.
    pub(crate) fn see(&mut self, frame: &FrameView<'_>, inverse: &Affine) {
        let width = self.width;
        match self.input.values() {
            Values::Float32(values, tint) => warp(frame, inverse, width, tint, values),
            Values::Int8(values, tint) => warp(frame, inverse, width, tint, values),
        }
    }

    /// Writes a square crop into the input: pixel by pixel where it has the input's size, stretched otherwise.
    pub(crate) fn see_crop(&mut self, rgb: &[u8], side: usize) {
        if (self.width, self.height) == (side, side) {
            match self.input.values() {
                Values::Float32(values, tint) => tint.paint(rgb, values),
                Values::Int8(values, tint) => tint.paint(rgb, values),
            }
        } else {
            let view = FrameView::new(PixelFormat::Rgb8, side as u32, side as u32, side * 3, rgb)
                .expect("crops have the sides that their types name");
            let edge = side as f64 - 0.5;
            let inverse = Affine::of_box(-0.5, -0.5, edge, edge, self.width, self.height);
            self.see(&view, &inverse);
        }
    }

    /// Computes the outputs from what was seen last.
    pub(crate) fn run(&mut self) -> Result<(), EngineError> {
        self.interpreter.invoke().map_err(|_| EngineError::Invoke)
    }

    /// The numbers of an output after `run`.
    pub(crate) fn output(&self, index: usize) -> Numbers<'_> {
        match self.outputs[index] {
            Reader::Float32 { start, length } => {
                // SAFETY: taken from the output tensor, which stays in place (none of the models has dynamic outputs,
                // or its shape would not have matched the manifest's before the first run); `&self` outlives the slice
                // and `run` needs `&mut self`.
                Numbers::Float32(unsafe { std::slice::from_raw_parts(start, length) })
            }
            Reader::Int8 { start, length, scale, zero } => {
                // SAFETY: as above.
                Numbers::Int8 { values: unsafe { std::slice::from_raw_parts(start, length) }, scale, zero }
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: dropped once, here, and before the model that it borrows; the bytes go last, with the fields.
        unsafe {
            ManuallyDrop::drop(&mut self.interpreter);
            drop(Box::from_raw(self.model));
        }
    }
}

/// Frees a model whose engine could not be finished. The interpreter, declared later, is gone by then.
struct ModelGuard(*mut Model<'static>);

impl Drop for ModelGuard {
    fn drop(&mut self) {
        // SAFETY: comes from `Box::into_raw`, and `new` forgets the guard where the engine takes over.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// An output's numbers; quantised ones become real on the way.
#[derive(Clone, Copy)]
pub(crate) enum Numbers<'a> {
    Float32(&'a [f32]),
    Int8 { values: &'a [i8], scale: f32, zero: i32 },
}

impl Numbers<'_> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Numbers::Float32(values) => values.len(),
            Numbers::Int8 { values, .. } => values.len(),
        }
    }

    /// The number at `index`.
    #[inline(always)]
    pub(crate) fn at(&self, index: usize) -> f32 {
        match *self {
            Numbers::Float32(values) => values[index],
            Numbers::Int8 { values, scale, zero } => (i32::from(values[index]) - zero) as f32 * scale,
        }
    }
}

enum Writer {
    Float32 { start: *mut f32, length: usize, tint: Box<Tint<f32>> },
    Int8 { start: *mut i8, length: usize, tint: Box<Tint<i8>> },
}

/// The input's numbers, to be written, and how pixels become them.
enum Values<'a> {
    Float32(&'a mut [f32], &'a Tint<f32>),
    Int8(&'a mut [i8], &'a Tint<i8>),
}

impl Writer {
    fn values(&mut self) -> Values<'_> {
        match self {
            Writer::Float32 { start, length, tint } => {
                // SAFETY: `start` and `length` were taken from the input tensor, which lives in the interpreter and is
                // neither resized nor reallocated after `new`; `&mut self` makes this the only access.
                Values::Float32(unsafe { std::slice::from_raw_parts_mut(*start, *length) }, tint)
            }
            Writer::Int8 { start, length, tint } => {
                // SAFETY: as above.
                Values::Int8(unsafe { std::slice::from_raw_parts_mut(*start, *length) }, tint)
            }
        }
    }

    fn new(interpreter: &Interpreter<'_>, input: &Input) -> Result<Writer, EngineError> {
        let tensor = interpreter.input(input.index).map_err(refused)?;
        check(&tensor, "input", &[1, input.height, input.width, 3], input.kind)?;
        let blue_first = input.order == Order::Bgr;
        let value = |channel: usize, v: usize| (v as f32 - input.mean[channel]) / input.std[channel];
        Ok(match input.kind {
            Kind::Float32 => {
                let data = tensor.data::<f32>();
                let tables = [0, 1, 2].map(|c| std::array::from_fn(|v| value(c, v)));
                Writer::Float32 {
                    start: data.as_ptr().cast_mut(),
                    length: data.len(),
                    tint: Box::new(Tint { tables, blue_first }),
                }
            }
            Kind::Int8 => {
                let data = tensor.data::<i8>();
                let (scale, zero) = quantisation(&tensor, "input")?;
                let quantised = |x: f32| (x / scale + zero as f32 + 0.5).floor().clamp(-128.0, 127.0) as i8;
                let tables = [0, 1, 2].map(|c| std::array::from_fn(|v| quantised(value(c, v))));
                Writer::Int8 {
                    start: data.as_ptr().cast_mut(),
                    length: data.len(),
                    tint: Box::new(Tint { tables, blue_first }),
                }
            }
        })
    }
}

enum Reader {
    Float32 { start: *const f32, length: usize },
    Int8 { start: *const i8, length: usize, scale: f32, zero: i32 },
}

impl Reader {
    fn new(tensor: &Tensor<'_>) -> Result<Reader, EngineError> {
        match tensor.data_type() {
            DataType::Float32 => {
                let data = tensor.data::<f32>();
                Ok(Reader::Float32 { start: data.as_ptr(), length: data.len() })
            }
            DataType::Int8 => {
                let data = tensor.data::<i8>();
                let (scale, zero) = quantisation(tensor, "output")?;
                Ok(Reader::Int8 { start: data.as_ptr(), length: data.len(), scale, zero })
            }
            other => Err(EngineError::Tensor {
                tensor: "output".to_owned(),
                expected: "float32 or int8".to_owned(),
                found: format!("{other:?}"),
            }),
        }
    }
}

fn check_output(interpreter: &Interpreter<'_>, index: usize, shape: &[usize], kind: Kind) -> Result<(), EngineError> {
    let name = format!("output {index}");
    let count = interpreter.output_tensor_count();
    if index >= count {
        return Err(EngineError::Tensor {
            tensor: name,
            expected: format!("{shape:?} {kind:?}"),
            found: format!("missing: it has {count} outputs"),
        });
    }
    check(&interpreter.output(index).map_err(refused)?, &name, shape, kind)
}

fn check(tensor: &Tensor<'_>, name: &str, shape: &[usize], kind: Kind) -> Result<(), EngineError> {
    let wanted = match kind {
        Kind::Float32 => DataType::Float32,
        Kind::Int8 => DataType::Int8,
    };
    let found = tensor.shape().dimensions();
    if found == shape && tensor.data_type() == wanted {
        return Ok(());
    }
    Err(EngineError::Tensor {
        tensor: name.to_owned(),
        expected: format!("{shape:?} {wanted:?}"),
        found: format!("{found:?} {:?}", tensor.data_type()),
    })
}

fn quantisation(tensor: &Tensor<'_>, name: &str) -> Result<(f32, i32), EngineError> {
    tensor.quantization_parameters().map(|q| (q.scale, q.zero_point)).ok_or_else(|| EngineError::Tensor {
        tensor: name.to_owned(),
        expected: "int8 with a scale".to_owned(),
        found: "int8 without".to_owned(),
    })
}

fn refused(error: tflitec::Error) -> EngineError {
    EngineError::Refused(error.to_string())
}
