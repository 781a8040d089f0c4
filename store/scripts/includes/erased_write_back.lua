-- include: index_changes, not_due, status_index, timeline_note, write_back_id
-- Cancel a write-back that waits, because its person was erased. Its new lease number makes that of a
-- worker stale.
local ERASED_WAITS = {queued = true, held = true, retrying = true}
local function cancel_erased(id, now)
  local key = write_back_key(id)
  local got = redis.call('HMGET', key, 'status', 'order')
  if not ERASED_WAITS[got[1] or ''] then return end
  unset_due(id)
  leave_index('leased', id)
  redis.call('HINCRBY', key, 'lease', 1)
  redis.call('HDEL', key, 'next_ms', 'held_since_ms', 'paused_by')
  redis.call('HSET', key, 'status', 'cancelled', 'reason', 'suppressed', 'message', 'This person was erased.')
  index_status(id, got[2], got[1], 'cancelled')
  note(key, now, 'cancelled', 'suppressed')
end
