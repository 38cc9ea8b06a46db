//! The virtual machine: QEMU with a camera's port, a network to this host only, and a screen that can be photographed.
//!
//! QEMU interprets the guest: what a processor does in 3 ms takes it some 200 ms. A guest whose clock runs as ours would
//! have a processor seventy times too slow for its camera. So the whole machine can be given a slower clock (libfaketime
//! in front of QEMU): its timers, its camera and its processor slow down together, and the ratio between them becomes
//! that of a real board.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::control::Control;
use super::wire::FRAME_MAX;
use super::{API_PORT, CAMERA_PORT, CONTROL_PORT};

/// A guest at work. Killed when dropped.
pub struct Machine {
    child: Child,
    folder: PathBuf,
    control_port: u16,
    api_port: u16,
}

/// Where the guest's camera is fed.
pub struct CameraPort {
    /// Questions and answers.
    pub socket: PathBuf,
    /// Pixels: what the guest sees as a disk.
    pub disk: PathBuf,
}

/// What a guest is made of.
pub struct Plan<'a> {
    /// The kernel.
    pub kernel: &'a Path,
    /// Archives of the root file system, laid over one another in this order.
    pub archives: &'a [PathBuf],
    /// How fast the guest's clock runs against ours: 1 is as fast.
    pub speed: f64,
    /// Where sockets, console and pictures go.
    pub folder: &'a Path,
}

/// Slows QEMU's clock.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// The vector instructions of AVX are three times slower than those of SSE when they are interpreted, and copying by
/// single bytes, which erms and fsrm make kernel and C library prefer, is slower than by words.
const PROCESSOR: &str = "max,-avx,-avx2,-fma,-f16c,-erms,-fsrm";
/// What the kernel is told. The time-stamp counter is the host's and would not slow down with the rest.
const APPEND: &str = "console=ttyS0 panic=-1 quiet nokaslr mitigations=off tsc=unstable clocksource=hpet \
    no_timer_check vt.global_cursor_default=0";
/// Names in a guest's folder.
const CAMERA_SOCKET: &str = "camera.sock";
const CAMERA_DISK: &str = "camera.disk";
/// Longest boot.
const BOOT_MAX: Duration = Duration::from_secs(600);
/// Longest farewell.
const END_MAX: Duration = Duration::from_secs(120);
/// How often the host looks.
const LOOK: Duration = Duration::from_millis(100);

impl Machine {
    /// Boots a guest.
    ///
    /// # Errors
    /// QEMU or a file is missing.
    pub fn boot(plan: &Plan<'_>) -> Result<Self> {
        let folder = plan.folder.to_path_buf();
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let initrd = join(plan.archives, &folder.join("guest.cpio"))?;
        let disk = folder.join(CAMERA_DISK);
        std::fs::write(&disk, vec![0; FRAME_MAX as usize]).with_context(|| format!("making {}", disk.display()))?;
        let (control_port, api_port) = (free_port()?, free_port()?);
        let text = |path: PathBuf| path.display().to_string();
        let (camera, monitor) = (text(folder.join(CAMERA_SOCKET)), text(folder.join("qmp.sock")));
        let forward = |host: u16, guest: u16| format!("hostfwd=tcp:127.0.0.1:{host}-10.0.2.15:{guest}");
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-accel", "tcg,thread=multi,tb-size=512", "-M", "q35", "-cpu", PROCESSOR, "-smp", "2", "-m", "1024"])
            .args(["-display", "none", "-vga", "none", "-no-reboot", "-append", APPEND])
            .arg("-kernel")
            .arg(plan.kernel)
            .arg("-initrd")
            .arg(&initrd)
            .args(["-serial", &format!("file:{}", text(folder.join("console.log")))])
            .args(["-device", "bochs-display,id=panel,xres=800,yres=480"])
            .args(["-device", "virtio-serial-pci"])
            .args(["-chardev", &format!("socket,id=camera,path={camera},server=on,wait=off")])
            .args(["-device", &format!("virtserialport,chardev=camera,name={CAMERA_PORT}")])
            .args(["-drive", &format!("if=none,id=frame,format=raw,read-only=on,file={}", text(disk))])
            .args(["-device", "virtio-blk-pci,drive=frame"])
            .args([
                "-nic",
                &format!(
                    "user,model=virtio-net-pci,{},{}",
                    forward(control_port, CONTROL_PORT),
                    forward(api_port, API_PORT)
                ),
            ])
            .args(["-qmp", &format!("unix:{monitor},server=on,wait=off")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("qemu.log")).context("QEMU's log")?);
        if plan.speed < 1.0 {
            if !Path::new(FAKETIME).exists() {
                bail!("{FAKETIME} is missing: apt-get install libfaketime");
            }
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", format!("+0 x{}", plan.speed));
        }
        let child = command.spawn().context("starting qemu-system-x86_64; is qemu-system-x86 installed?")?;
        Ok(Self { child, folder, control_port, api_port })
    }

    /// Waits until the guest's program takes orders.
    ///
    /// # Errors
    /// The guest ended or did not come up; its console tells why.
    pub fn control(&mut self) -> Result<Control> {
        let begun = now();
        let console = self.folder.join("console.log");
        while begun.elapsed() < BOOT_MAX {
            if let Some(status) = self.child.try_wait()? {
                bail!("the guest ended ({status}); see {} and qemu.log beside it", console.display());
            }
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.control_port))
                && let Ok(mut control) = Control::new(stream)
                && control.answers()
            {
                return Ok(control);
            }
            pause(LOOK);
        }
        bail!("the guest did not come up within {BOOT_MAX:?}; see {}", console.display())
    }

    /// Where the camera is fed.
    pub fn camera(&self) -> CameraPort {
        CameraPort { socket: self.folder.join(CAMERA_SOCKET), disk: self.folder.join(CAMERA_DISK) }
    }

    /// The port on this host that leads to the local API's relay.
    pub fn api_port(&self) -> u16 {
        self.api_port
    }

    /// Who photographs the screen.
    pub fn eye(&self) -> Eye {
        Eye { monitor: self.folder.join("qmp.sock") }
    }

    /// Lets the guest shut down.
    ///
    /// # Errors
    /// It does not.
    pub fn end(mut self, control: &mut Control) -> Result<()> {
        control.order("end")?;
        let begun = now();
        while begun.elapsed() < END_MAX {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            pause(LOOK);
        }
        bail!("the guest did not shut down within {END_MAX:?}")
    }
}

/// Photographs the guest's screen.
#[derive(Clone)]
pub struct Eye {
    monitor: PathBuf,
}

impl Eye {
    /// Photographs the screen.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn photograph(&self, to: &Path) -> Result<()> {
        let raw = to.with_extension("ppm");
        let stream =
            UnixStream::connect(&self.monitor).with_context(|| format!("connecting to {}", self.monitor.display()))?;
        stream.set_read_timeout(Some(END_MAX))?;
        let mut monitor = BufReader::new(stream);
        let arguments = json!({ "device": "panel", "filename": raw.display().to_string() });
        for order in
            [json!({ "execute": "qmp_capabilities" }), json!({ "execute": "screendump", "arguments": arguments })]
        {
            monitor.get_mut().write_all((order.to_string() + "\n").as_bytes())?;
            answer(&mut monitor)?;
        }
        let picture = ppm(&std::fs::read(&raw).with_context(|| format!("reading {}", raw.display()))?)?;
        picture.save(to).with_context(|| format!("writing {}", to.display()))?;
        std::fs::remove_file(&raw).with_context(|| format!("removing {}", raw.display()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Archives of a root file system, one after the other, are one archive to the kernel.
fn join(archives: &[PathBuf], to: &Path) -> Result<PathBuf> {
    let mut joined = std::fs::File::create(to).with_context(|| format!("creating {}", to.display()))?;
    for archive in archives {
        let mut part = std::fs::File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
        std::io::copy(&mut part, &mut joined).with_context(|| format!("copying {}", archive.display()))?;
    }
    Ok(to.to_path_buf())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The monitor's next answer; its greeting and its events are passed over.
fn answer(monitor: &mut BufReader<UnixStream>) -> Result<Value> {
    loop {
        let mut line = String::new();
        if monitor.read_line(&mut line).context("QEMU's monitor")? == 0 {
            bail!("QEMU's monitor is gone");
        }
        let said: Value = serde_json::from_str(&line).context("QEMU's monitor speaks JSON")?;
        match (said.get("return"), said.get("error")) {
            (Some(done), _) => return Ok(done.clone()),
            (None, Some(error)) => bail!("QEMU's monitor: {error}"),
            (None, None) => {}
        }
    }
}

/// A binary PPM as QEMU writes it: `P6`, width, height, 255, and three bytes a pixel.
fn ppm(bytes: &[u8]) -> Result<image::RgbImage> {
    let mut fields = Vec::new();
    let mut at = 0;
    while fields.len() < 4 {
        let end = bytes[at..].iter().position(u8::is_ascii_whitespace).context("a PPM's header")?;
        fields.push(std::str::from_utf8(&bytes[at..at + end])?.to_owned());
        at += end + 1;
    }
    let side = |text: &str| text.parse::<u32>().context("a PPM's sides");
    image::RgbImage::from_raw(side(&fields[1])?, side(&fields[2])?, bytes[at..].to_vec())
        .context("a PPM holds as many pixels as it says")
}

#[expect(clippy::disallowed_methods, reason = "the rig measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the rig waits for a machine")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
