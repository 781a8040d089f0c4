-- include: keys, old_delivery, errors
-- Rename the fields of these deliveries now, before something else reads them. ARGV: their ids.
even_when_full()
for _, id in ipairs(ARGV) do
  try(rename_fields, P .. 'delivery:' .. id)  -- a key of another type must not stop the others
end
