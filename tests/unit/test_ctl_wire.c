// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Framing of the control socket: messages told apart however the bytes arrive, what is no
 * JSON ended where a client expects it, bounds kept; and what goes out.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../host/ctl/reply.h"
#include "../../host/ctl/wire.h"

static struct wire_in in;
static struct wire_message message;
static struct ml_why why;

static int set_up(void **state)
{
	(void)state;
	return wire_in_init(&in);
}

static int take_down(void **state)
{
	(void)state;
	wire_in_done(&in);
	return 0;
}

static void feed(const char *data, size_t len)
{
	size_t space;
	char *at = wire_in_space(&in, &space);

	assert_true(space >= len);
	memcpy(at, data, len);
	wire_in_filled(&in, len);
}

/* Much of the same byte; nothing may come of it. */
static void feed_many(char c, size_t count)
{
	while (count) {
		size_t space, n;
		char *at = wire_in_space(&in, &space);

		n = space < count ? space : count;
		memset(at, c, n);
		wire_in_filled(&in, n);
		assert_int_equal(wire_in_next(&in, &message, &why), 0);
		count -= n;
	}
}

static void expect_message(const char *text)
{
	assert_int_equal(wire_in_next(&in, &message, &why), 1);
	assert_int_equal(message.len, strlen(text));
	assert_memory_equal(message.text, text, message.len);
}

static void expect_id(const char *text, const char *id)
{
	expect_message(text);
	if (!id) {
		assert_null(message.id);
		return;
	}
	assert_int_equal(message.id_len, strlen(id));
	assert_memory_equal(message.id, id, message.id_len);
}

static void expect_error(const char *words)
{
	assert_int_equal(wire_in_next(&in, &message, &why), -EBADMSG);
	assert_non_null(strstr(why.text, words));
}

static void expect_nothing(void)
{
	assert_int_equal(wire_in_next(&in, &message, &why), 0);
}

#define FEED(text) feed(text, sizeof(text) - 1)

static void test_ends_of_message(void **state)
{
	(void)state;
	FEED("{\"a\": 1}\n{\"b\": 2}\r\n{\"c\": [{}]}  {\"d\":\n3}{}");
	expect_message("{\"a\":1 }");
	expect_message("{\"b\":2 }");
	expect_message("{\"c\":[{}]}");
	expect_message("{\"d\":3 }");
	expect_message("{}");
	expect_nothing();
}

static void test_byte_by_byte(void **state)
{
	static const char text[] = "{\"a\\\"}\": \"}{\\\\\"}\n";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text) - 3; i++) {
		feed(text + i, 1);
		expect_nothing();
	}
	feed(text + i, 1);
	expect_message("{\"a\\\"}\":\"}{\\\\\"}");
	expect_nothing();
}

static void test_single_quotes(void **state)
{
	(void)state;
	FEED("{'a': 'say \"x\"', \"it\\'s\": 'it\\'s', 'b\\\\': '\\u0041\\\"'}");
	expect_message("{\"a\":\"say \\\"x\\\"\",\"it's\":\"it's\",\"b\\\\\":\"\\u0041\\\"\"}");
}

/* What stands outside of brackets is a message by itself, for the parser to refuse. */
static void test_outside_brackets(void **state)
{
	(void)state;
	FEED("hello {\"a\": 1}\n[1, 2]\n7\n\"x\" -1.5e3 }],{]");
	expect_message("hello ");
	expect_message("{\"a\":1 }");
	expect_message("[1 ,2 ]");
	expect_message("7 ");
	expect_message("\"x\"");
	expect_message("-1.5e3 ");
	expect_message("}");
	expect_message("]");
	expect_message(",");
	expect_message("{]");
	FEED("12");
	expect_nothing();
}

/* A byte that no JSON has ends what was begun, an open string too, and the next is read. */
static void test_recovery(void **state)
{
	(void)state;
	FEED("{\"execute\":\1{\"a\": 2}");
	expect_error("0x01");
	expect_message("{\"a\":2 }");
	FEED("{\"a\n{\"b\": 2}\n");
	expect_error("0x0a");
	expect_message("{\"b\":2 }");
	FEED("{\xff{}");
	expect_error("0xff");
	expect_message("{}");
	FEED("\"\\\xfe []");
	expect_error("0xfe");
	expect_message("[]");
	FEED("HELLO\tthere \"x\" 5\n5 ");
	expect_error("0x48");
	expect_message("5 ");
	FEED("\1\2");
	expect_error("0x01");
	expect_error("0x02");
	feed("\0{}", 3);
	expect_error("0x00");
	expect_message("{}");
	FEED("[01,-x,1.,1e]\n");
	expect_error("0x31");
	expect_message(",");
	expect_error("0x78");
	expect_message(",");
	expect_error("0x2c");
	expect_message("]");
	expect_nothing();
}

static void test_id(void **state)
{
	(void)state;
	FEED("{\"id\": 18446744073709551615, \"a\": 1}");
	expect_id("{\"id\":0                    ,\"a\":1 }", "18446744073709551615 ");
	FEED("{\"a\": {\"id\": 1}, 'id': [{\"id\": 2}, \"}\"]}");
	expect_id("{\"a\":{\"id\":1 },\"id\":0              }", "[{\"id\":2 },\"}\"]");
	FEED("{\"a\": \"id\", \"ida\": 1, \"i\": \"id\"}[\"id\", 5]{\"id\": }{\"id\", 5}");
	expect_id("{\"a\":\"id\",\"ida\":1 ,\"i\":\"id\"}", NULL);
	expect_id("[\"id\",5 ]", NULL);
	expect_id("{\"id\":}", NULL);
	expect_id("{\"id\",5 }", NULL);
	FEED("{\"id\": 1 2}{\"id\": 5]");
	expect_id("{\"id\":0   }", "1 2 ");
	expect_id("{\"id\":5 ]", NULL);
}

/* Elsewhere an integer of more than 63 bits becomes a real number, which is no argument. */
static void test_wide_integers(void **state)
{
	(void)state;
	FEED("[9223372036854775807, 9223372036854775808, -9223372036854775808, -9223372036854775809,"
	     "11111111111111111111111111111111]");
	expect_message("[9223372036854775807 ,9223372036854775808.0 ,-9223372036854775808 ,"
		       "-9223372036854775809.0 ,11111111111111111111111111111111.0 ]");
}

static void test_depth(void **state)
{
	(void)state;
	feed_many('[', WIRE_DEPTH_MAX);
	for (int i = 0; i < WIRE_DEPTH_MAX; i++)
		FEED("]");
	assert_int_equal(wire_in_next(&in, &message, &why), 1);
	feed_many('[', WIRE_DEPTH_MAX);
	FEED("[[");
	expect_error("1024 deep");
	feed_many('[', 100000);
	FEED("\"]\"");
	feed_many(']', 100000 + WIRE_DEPTH_MAX);
	FEED("]]{}");
	expect_message("{}");
	expect_nothing();
}

static void test_too_many_tokens(void **state)
{
	int ret = 0;

	(void)state;
	FEED("[0");
	for (int i = 1; i < WIRE_TOKENS_MAX / 2 - 1; i++) {
		FEED(",0");
		expect_nothing();
	}
	FEED("]{}");
	assert_int_equal(wire_in_next(&in, &message, &why), 1);
	expect_message("{}");
	FEED("[0");
	for (int i = 0; i < WIRE_TOKENS_MAX && !ret; i++) {
		FEED(",0");
		ret = wire_in_next(&in, &message, &why);
	}
	assert_int_equal(ret, -EBADMSG);
	assert_non_null(strstr(why.text, "16384 tokens"));
	FEED("]{}");
	expect_message("{}");
}

static void test_longest(void **state)
{
	(void)state;
	/* Blanks are not counted, whole messages are. */
	FEED("{");
	feed_many(' ', 4 * WIRE_MESSAGE_MAX_BYTES);
	FEED("}");
	expect_message("{}");
	FEED("\"");
	feed_many('x', WIRE_MESSAGE_MAX_BYTES - 1);
	FEED("\"");
	assert_int_equal(wire_in_next(&in, &message, &why), 1);
	assert_int_equal(message.len, WIRE_MESSAGE_MAX_BYTES + 1);
	FEED("{\"");
	feed_many('x', WIRE_MESSAGE_MAX_BYTES - 2);
	FEED("x");
	expect_error("262144 bytes");
	/* The rest is skipped, the end of its string found. */
	feed_many('}', 3 * WIRE_MESSAGE_MAX_BYTES);
	FEED("\"}{}");
	expect_message("{}");
	FEED("{\"");
	feed_many('x', WIRE_MESSAGE_MAX_BYTES - 2);
	FEED("x\1{}");
	expect_error("262144 bytes");
	expect_error("0x01");
	expect_message("{}");
}

static void expect_reply_id(const char *text, const char *want)
{
	char *id = NULL;

	assert_int_equal(reply_id(text, strlen(text), &id), want ? 0 : -EINVAL);
	if (want)
		assert_string_equal(id, want);
	free(id);
}

static void test_reply(void **state)
{
	char *line;

	(void)state;
	expect_reply_id("18446744073709551615 ", "18446744073709551615");
	expect_reply_id("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", "\"\\u00e4\\u20ac\\ud83d\\ude00\"");
	expect_reply_id("[\"\\u0000\",{\"a\":null }]", "[\"\\u0000\",{\"a\":null }]");
	expect_reply_id("\"\xff\"", NULL);
	expect_reply_id("1 2 ", NULL);
	expect_reply_id("nul ", NULL);
	line = reply_line("return", "{}", "5");
	assert_string_equal(line, "{\"return\": {}, \"id\": 5}\r\n");
	free(line);
	line = reply_error("NoSpace", "f\xc3\xbcll");
	assert_non_null(strstr(line, "\"class\": \"GenericError\""));
	assert_non_null(strstr(line, "\"__memlease_kind\": \"no-space\""));
	assert_true(strstr(line, "f\\u00fcll") || strstr(line, "f\\u00FCll"));
	free(line);
	line = reply_error("DeviceNotFound", "cut \xc3");
	assert_string_equal(line, "{\"class\": \"DeviceNotFound\", \"desc\": \"cut ?\"}");
	free(line);
}

static void test_out(void **state)
{
	static char block[100000], got[1 << 20];
	struct wire_out out = { 0 };
	size_t sent = 0, received = 0, i;
	int pair[2];
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	for (i = 0; i < 8; i++) {
		memset(block, 'a' + (int)i, sizeof(block));
		assert_int_equal(wire_out_put(&out, block, sizeof(block)), 0);
		sent += sizeof(block);
		assert_int_equal(wire_out_flush(&out, pair[0]), 0);
	}
	/* The socket does not take all of it at once; the rest waits in order. */
	assert_in_range(wire_out_pending(&out), 1, sent - 1);
	do {
		while ((n = read(pair[1], got + received, sizeof(got) - received)) > 0)
			received += (size_t)n;
		assert_int_equal(wire_out_flush(&out, pair[0]), 0);
	} while (received < sent);
	assert_int_equal(received, sent);
	for (i = 0; i < sent; i++)
		assert_int_equal(got[i], 'a' + (int)(i / sizeof(block)));
	assert_int_equal(wire_out_pending(&out), 0);
	close(pair[1]);
	assert_int_equal(wire_out_put(&out, "x", 1), 0);
	assert_int_equal(wire_out_flush(&out, pair[0]), -EPIPE);
	close(pair[0]);
	wire_out_done(&out);
}

#define WITH_INPUT(test) cmocka_unit_test_setup_teardown(test, set_up, take_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_INPUT(test_ends_of_message),
		WITH_INPUT(test_byte_by_byte),
		WITH_INPUT(test_single_quotes),
		WITH_INPUT(test_outside_brackets),
		WITH_INPUT(test_recovery),
		WITH_INPUT(test_id),
		WITH_INPUT(test_wide_integers),
		WITH_INPUT(test_depth),
		WITH_INPUT(test_too_many_tokens),
		WITH_INPUT(test_longest),
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
