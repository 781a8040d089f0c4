-- include: keys, campaign_names
-- Let campaigns of an older release be found. ARGV: key, batch_id, name, key, batch_id, name...
even_when_full()
for i = 1, #ARGV, 3 do index_names(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
