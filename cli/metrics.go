package cli

import (
	"tokenbroker/cache"
	"tokenbroker/server"
)

// cacheCounters are the cache's figures, as /metrics shows them.
func cacheCounters(m *memory) []server.Counter {
	of := func(name, help string, pick func(cache.Stats) float64) server.Counter {
		return server.Counter{Name: name, Help: help, Value: func() float64 { return pick(m.stats()) }}
	}
	entries := of("cache_entries", "Tokens held.", func(s cache.Stats) float64 { return float64(s.Entries) })
	entries.Gauge = true
	return []server.Counter{
		entries,
		of("cache_hits_total", "Requests answered with a held token.", func(s cache.Stats) float64 { return float64(s.Hits) }),
		of("cache_stale_total", "Requests answered with a held token whose renewal is due.", func(s cache.Stats) float64 { return float64(s.Stale) }),
		of("cache_shared_total", "Requests that waited for another one's token request.", func(s cache.Stats) float64 { return float64(s.Shared) }),
		of("cache_misses_total", "Requests that had to wait for Entra.", func(s cache.Stats) float64 { return float64(s.Misses) }),
		of("entra_requests_total", "Token requests to Entra.", func(s cache.Stats) float64 { return float64(s.Fills) }),
		of("entra_failures_total", "Token requests to Entra that failed.", func(s cache.Stats) float64 { return float64(s.FillErrors) }),
	}
}

// lossCounters count what could not be written.
func lossCounters(log *logWriter, audit *auditFile) []server.Counter {
	return []server.Counter{
		{Name: "log_lines_lost_total", Help: "Log lines dropped because their reader is slow or gone.", Value: func() float64 { return float64(log.lost.Load()) }},
		{Name: "audit_records_lost_total", Help: "Audit records that audit.file could not take.", Value: func() float64 { return float64(audit.Lost()) }},
	}
}
