-- include: time, waiting
-- Returns how long the oldest delivery waits that could have been sent, ms; -1: none waits.
local now = now_ms()
local since = oldest_waiting(now)
return since and now - since or -1
