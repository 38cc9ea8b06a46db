// SPDX-License-Identifier: GPL-2.0-only
/*
 * A SPI controller without wires, bus 0, one device: what is written to it is kept, each transfer with the level of the line
 * that tells data from commands, until somebody has read it from /dev/spi-record.
 *
 * A record: the line's level (one byte), the length (four bytes, little endian), the bytes. Writing anything to the device
 * forgets what was kept. What did not fit any more is counted by the parameter "lost".
 */
#include <linux/fs.h>
#include <linux/gpio.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/spi/spi.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define ROOM (8 << 20)
#define HEAD 5

/* The line by the kernel's number; negative: always command. */
static int data_line = -1;
module_param(data_line, int, 0644);
/* Transfers that found no room. */
static unsigned int lost;
module_param(lost, uint, 0444);

static struct platform_device *place;
static struct spi_controller *bus;
static u8 *kept;
static size_t length;
static DEFINE_MUTEX(guard);

static void keep(const struct spi_transfer *transfer)
{
	u8 *to;

	mutex_lock(&guard);
	if (length + HEAD + transfer->len > ROOM) {
		lost++;
	} else {
		to = kept + length;
		to[0] = data_line >= 0 ? !!gpio_get_value_cansleep(data_line) : 0;
		to[1] = transfer->len;
		to[2] = transfer->len >> 8;
		to[3] = transfer->len >> 16;
		to[4] = transfer->len >> 24;
		memcpy(to + HEAD, transfer->tx_buf, transfer->len);
		length += HEAD + transfer->len;
	}
	mutex_unlock(&guard);
}

static int send(struct spi_controller *controller, struct spi_message *message)
{
	struct spi_transfer *transfer;

	list_for_each_entry(transfer, &message->transfers, transfer_list) {
		if (transfer->tx_buf)
			keep(transfer);
		if (transfer->rx_buf)
			memset(transfer->rx_buf, 0, transfer->len);
		message->actual_length += transfer->len;
	}
	message->status = 0;
	spi_finalize_current_message(controller);
	return 0;
}

static ssize_t record_read(struct file *file, char __user *to, size_t count, loff_t *at)
{
	ssize_t done;

	mutex_lock(&guard);
	done = simple_read_from_buffer(to, count, at, kept, length);
	mutex_unlock(&guard);
	return done;
}

static ssize_t record_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	mutex_lock(&guard);
	length = 0;
	lost = 0;
	mutex_unlock(&guard);
	return count;
}

static const struct file_operations record_operations = {
	.owner = THIS_MODULE,
	.read = record_read,
	.write = record_write,
};

static struct miscdevice record = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "spi-record",
	.fops = &record_operations,
};

static int __init record_init(void)
{
	/* One of the names that the kernel's spidev takes for a device of its own. */
	struct spi_board_info panel = { .modalias = "dh2228fv", .max_speed_hz = 125000000 };
	int error = -ENOMEM;

	kept = vmalloc(ROOM);
	if (!kept)
		return error;
	place = platform_device_register_simple("spi-record", -1, NULL, 0);
	if (IS_ERR(place)) {
		error = PTR_ERR(place);
		goto free;
	}
	bus = spi_alloc_master(&place->dev, 0);
	if (!bus)
		goto leave;
	bus->bus_num = 0;
	bus->num_chipselect = 1;
	bus->mode_bits = SPI_MODE_X_MASK;
	bus->max_speed_hz = 125000000;
	bus->transfer_one_message = send;
	error = spi_register_controller(bus);
	if (error) {
		spi_controller_put(bus);
		goto leave;
	}
	error = -ENODEV;
	if (!spi_new_device(bus, &panel))
		goto stop;
	error = misc_register(&record);
	if (error)
		goto stop;
	return 0;
stop:
	spi_unregister_controller(bus);
leave:
	platform_device_unregister(place);
free:
	vfree(kept);
	return error;
}

static void __exit record_exit(void)
{
	misc_deregister(&record);
	spi_unregister_controller(bus);
	platform_device_unregister(place);
	vfree(kept);
}

module_init(record_init);
module_exit(record_exit);
MODULE_DESCRIPTION("Keeps what is sent over a SPI bus that is not there");
MODULE_AUTHOR("Didar");
MODULE_LICENSE("GPL");
