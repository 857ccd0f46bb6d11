// SPDX-License-Identifier: GPL-2.0-or-later
/* The host module and the guests of the pool's simulation, and what must hold; see sim.h. */
#include <string.h>

#include "../../../host/base/step.h"
#include "sim.h"

static struct sim_slot *slot_at(uint16_t vm, uint32_t slot)
{
	SIM_MUST(vm < SIM_VMS && slot < SIM_SLOTS, "slot %u of VM %u", slot, vm);
	return &world->slots[vm][slot];
}

/* --- the guests --- */

static bool back_slot(uint16_t vm, uint32_t slot)
{
	uint32_t block;

	if (world->supply_tail == world->supply_head ||
	    world->touches_head - world->touches_tail == SIM_TOUCHES)
		return false;
	block = world->supply[world->supply_tail++ % SIM_RING];
	if (world->poisoned[block])
		return false;	/* the module looks at what it takes */
	SIM_MUST(world->content[block] == 0, "block %u is lent dirty: it holds %llu", block,
		 (unsigned long long)world->content[block]);
	world->touches[world->touches_head++ % SIM_TOUCHES] =
		(struct sim_touch){ .vm = vm, .slot = slot, .block = block };
	atomic_store(&world->slots[vm][slot].behind, block + 1);
	return true;
}

static void guest_step(void)
{
	uint16_t vm = (uint16_t)sim_random(SIM_VMS);
	uint32_t slot = (uint32_t)sim_random(SIM_SLOTS);
	struct sim_slot *s = slot_at(vm, slot);

	if (!s->behind && (world->zeroed_on_map || !back_slot(vm, slot)))
		return;
	SIM_MUST(world->content[s->behind - 1] == s->want,
		 "VM %u slot %u holds %llu, the guest expects %llu", vm, slot,
		 (unsigned long long)world->content[s->behind - 1], (unsigned long long)s->want);
	s->want = ++world->stamp;
	world->content[s->behind - 1] = s->want;
}

/* A guest, and the module, do not die with the daemon, though here they are its thread. */
void module_guest_step(void)
{
	atomic_store(&world->at_once, true);
	guest_step();
	atomic_store(&world->at_once, false);
}

/* --- the module's calls --- */

uint32_t module_supply_room(void)
{
	return world->zeroed_on_map ? 0 : SIM_RING - (world->supply_head - world->supply_tail);
}

void module_supply(uint32_t block)
{
	ml_step("supply");
	world->supply[world->supply_head % SIM_RING] = block;
	ml_step("supply head");
	world->supply_head++;
}

bool module_touch_next(struct sim_touch *t)
{
	if (world->touches_tail == world->touches_head)
		return false;
	*t = world->touches[world->touches_tail % SIM_TOUCHES];
	return true;
}

void module_touch_done(void)
{
	ml_step("touch done");
	world->touches_tail++;
}

void module_forget_touches(void)
{
	world->touches_tail = world->touches_head;
}

bool module_map(uint16_t vm, uint32_t slot, uint32_t block)
{
	struct sim_slot *s = slot_at(vm, slot);

	ml_step("map");
	if (s->behind)
		return false;
	if (world->zeroed_on_map)
		world->content[block] = 0;
	SIM_MUST(world->content[block] == 0, "block %u is lent dirty: it holds %llu", block,
		 (unsigned long long)world->content[block]);
	atomic_store(&world->at_once, true);
	s->want = 0;
	atomic_store(&s->behind, block + 1);
	atomic_store(&world->at_once, false);
	return true;
}

uint32_t module_unmap(uint16_t vm, uint32_t slot)
{
	struct sim_slot *s = slot_at(vm, slot);
	uint32_t behind;

	if (!s->behind)
		return POOL_NO_BLOCK;
	ml_step("unmap");
	atomic_store(&world->at_once, true);
	s->want = 0;
	behind = atomic_exchange(&s->behind, 0);
	atomic_store(&world->at_once, false);
	return behind - 1;
}

bool module_move(uint16_t vm, uint32_t slot, uint32_t from, uint32_t to)
{
	struct sim_slot *s = slot_at(vm, slot);

	if (s->behind != from + 1)
		return false;
	ml_step("copy");
	world->content[to] = SIM_HALF;
	ml_step("copied");
	world->content[to] = world->content[from];
	ml_step("exchange");
	atomic_store(&s->behind, to + 1);
	return true;
}

/* --- what it knows --- */

static uint8_t is_behind[SIM_BLOCKS], in_ring[SIM_BLOCKS];
static struct block_owner owners[SIM_BLOCKS];

static void look(void)
{
	memset(is_behind, 0, sizeof(is_behind));
	memset(in_ring, 0, sizeof(in_ring));
	for (uint16_t vm = 0; vm < SIM_VMS; vm++) {
		for (uint32_t slot = 0; slot < SIM_SLOTS; slot++) {
			uint32_t behind = world->slots[vm][slot].behind;

			if (!behind)
				continue;
			SIM_MUST(behind <= SIM_BLOCKS, "VM %u slot %u has block %u", vm, slot, behind - 1);
			SIM_MUST(!is_behind[behind - 1]++, "block %u has two owners", behind - 1);
			owners[behind - 1] = (struct block_owner){ .vm = vm, .region = 1,
								   .fixed = vm == 0, .slot = slot };
		}
	}
	for (uint32_t i = world->supply_tail; i != world->supply_head; i++) {
		uint32_t block = world->supply[i % SIM_RING];

		SIM_MUST(!in_ring[block]++, "block %u stands in the ring twice", block);
		SIM_MUST(!is_behind[block], "block %u is in the ring and behind a slot", block);
	}
}

enum pool_truth module_truth(void *ctx, uint32_t block, struct block_owner *owner)
{
	(void)ctx;
	if (block == 0)
		look();
	*owner = owners[block];
	return is_behind[block] ? POOL_BEHIND : in_ring[block] ? POOL_IN_RING : POOL_NOWHERE;
}

/* --- what must hold --- */

void check_module(void)
{
	look();
	for (uint16_t vm = 0; vm < SIM_VMS; vm++) {
		for (uint32_t slot = 0; slot < SIM_SLOTS; slot++) {
			const struct sim_slot *s = &world->slots[vm][slot];

			SIM_MUST(!s->behind || world->content[s->behind - 1] == s->want,
				 "VM %u slot %u has lost its contents", vm, slot);
		}
	}
}

static bool owner_right(struct block_owner a, struct block_owner b)
{
	return a.vm == b.vm && a.slot == b.slot && a.fixed == b.fixed;
}

/* Slots are the truth; a touch that the daemon has not heard of leaves its block OFFERED. */
static void check_block(uint32_t b, struct block_word w, bool settled)
{
	if (w.state == BLOCK_CLEAN)
		SIM_MUST(world->zeroed_on_map || world->content[b] == 0, "block %u is clean and holds %llu",
			 b, (unsigned long long)world->content[b]);
	if (is_behind[b]) {
		bool told = w.state == BLOCK_LENT && owner_right(w.owner, owners[b]);

		/* Boot memory's touches come through the ring like others, so VM 0's are known late. */
		SIM_MUST(told || w.state == BLOCK_OFFERED || (w.state == BLOCK_RETIRED && !settled) ||
			 (w.state == BLOCK_MOVING && !settled && owner_right(w.owner, owners[b])),
			 "block %u stands behind slot %u of VM %u and is %s", b, owners[b].slot,
			 owners[b].vm, block_state_name(w.state));
	} else if (in_ring[b]) {
		SIM_MUST(w.state == BLOCK_OFFERED || w.state == BLOCK_RETIRED,
			 "block %u is in the ring and %s", b, block_state_name(w.state));
		SIM_MUST(world->content[b] == 0 || w.state == BLOCK_RETIRED, "block %u of the ring is dirty", b);
	} else if (settled) {
		SIM_MUST(w.state != BLOCK_LENT && w.state != BLOCK_OFFERED && w.state != BLOCK_MOVING,
			 "block %u is %s and nobody's", b, block_state_name(w.state));
	}
	SIM_MUST(w.state != BLOCK_RETIRED || world->poisoned[b], "block %u is retired and sound", b);
}

void check_table(const struct table *t, bool settled)
{
	uint32_t sum = 0;

	check_module();
	for (uint32_t b = 0; b < SIM_BLOCKS; b++)
		check_block(b, table_word(t, b), settled);
	for (int s = 0; settled && s < BLOCK_STATES; s++)
		sum += table_count(t, (enum block_state)s);
	SIM_MUST(!settled || sum == SIM_BLOCKS, "the counts add up to %u blocks of %u", sum, SIM_BLOCKS);
}
