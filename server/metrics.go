package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tokenbroker/entra"
)

// Counter is a figure that another package keeps and /metrics shows.
type Counter struct {
	Name  string // without the prefix tokenbroker_; ends in _total unless Gauge
	Help  string
	Gauge bool // goes down too
	Value func() float64
}

const namespace = "tokenbroker"

// metrics are the broker's figures. Label values come from the configuration
// and from our own tables, never from a caller, so their number is bounded.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	proxied  *prometheus.CounterVec
	failures *prometheus.CounterVec
}

func newMetrics(counters []Counter) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "requests_total",
			Help: "Requests answered, by mount and class of status."}, []string{"mount", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "request_seconds",
			Help:    "Time from a request's first byte to its answer's last, in seconds.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60, 240}}, []string{"mount"}),
		proxied: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "proxied_total",
			Help: "Calls that reached an upstream, by route and class of the upstream's status."}, []string{"route", "class"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "failures_total",
			Help: "Requests that the broker itself refused or could not serve, by kind."}, []string{"kind"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.proxied, m.failures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	for _, c := range counters {
		opts := prometheus.Opts{Namespace: namespace, Name: c.Name, Help: c.Help}
		if c.Gauge {
			m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), c.Value))
			continue
		}
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts), c.Value))
	}
	for _, kind := range entra.Kinds() {
		m.failures.WithLabelValues(kind.String())
	}
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// mountMetrics are a mount's figures, looked up once.
type mountMetrics struct {
	all     *metrics
	class   [6]prometheus.Counter
	seconds prometheus.Observer
}

var classes = [6]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m *metrics) mount(name string) *mountMetrics {
	mm := &mountMetrics{all: m, seconds: m.seconds.WithLabelValues(name)}
	for i := 1; i < len(classes); i++ {
		mm.class[i] = m.requests.WithLabelValues(name, classes[i])
	}
	return mm
}

func (m *mountMetrics) observe(status int, took time.Duration, t *entra.Trail) {
	m.class[classOf(status)].Inc()
	m.seconds.Observe(took.Seconds())
	if t.Upstream != 0 {
		m.all.proxied.WithLabelValues(t.Route, classes[classOf(t.Upstream)]).Inc()
	}
	if t.Failure != nil {
		m.all.failures.WithLabelValues(t.Failure.Kind.String()).Inc()
	}
}

func classOf(status int) int {
	return min(max(status/100, 1), len(classes)-1)
}
