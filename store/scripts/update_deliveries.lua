-- include: keys, old_delivery
-- Rename the fields of these deliveries now, before something else reads them. ARGV: their ids.
even_when_full()
for _, id in ipairs(ARGV) do
  pcall(rename_fields, P .. 'delivery:' .. id)  -- a key of another type must not stop the others
end
