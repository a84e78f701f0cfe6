package generate

import (
	"cmp"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
)

// style says what headers a program sends, and in which order.
type style uint8

const (
	chromium style = iota
	browser        // without client hints
	app
	library
	crawler
)

// agent is one User-Agent header and what it tells.
type agent struct {
	text  string
	facts exchange.UserAgent
	style style
	// hints are the client hints of browsers made of Chromium: sec-ch-ua, sec-ch-ua-mobile, sec-ch-ua-platform.
	hints [3]string
}

// family makes the User-Agent headers of one program on one kind of system: one for each version, the newest and
// most frequent first. In text, % stands for the version.
type family struct {
	weight   float64
	text     string
	name     string
	os, osV  string
	device   string
	kind     string
	style    style
	versions string
}

const (
	gecko  = " AppleWebKit/537.36 (KHTML, like Gecko) "
	webkit = " AppleWebKit/605.1.15 (KHTML, like Gecko) "

	chromes = "137.0.0.0 136.0.0.0 138.0.0.0 135.0.0.0 134.0.0.0 131.0.0.0 133.0.0.0 132.0.0.0 130.0.0.0 109.0.0.0 129.0.0.0 126.0.0.0 124.0.0.0 120.0.0.0"
	mobiles = "137.0.0.0 136.0.0.0 135.0.0.0 134.0.0.0 131.0.0.0 127.0.0.0"
	foxes   = "139.0 138.0 128.0 140.0 137.0 136.0 115.0 133.0"
	safaris = "18.5 18.4 17.6 18.3.1 17.5 18.2 16.6 17.4.1 18.1.1 15.6.1 17.3"
)

var families = []family{
	{30, "Mozilla/5.0 (Windows NT 10.0; Win64; x64)" + gecko + "Chrome/% Safari/537.36", "Chrome", "Windows", "10.0", "", "desktop", chromium, chromes},
	{12, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)" + gecko + "Chrome/% Safari/537.36", "Chrome", "macOS", "10.15.7", "", "desktop", chromium, chromes},
	{4, "Mozilla/5.0 (X11; Linux x86_64)" + gecko + "Chrome/% Safari/537.36", "Chrome", "Linux", "", "", "desktop", chromium, chromes},
	{22, "Mozilla/5.0 (Linux; Android 10; K)" + gecko + "Chrome/% Mobile Safari/537.36", "Chrome", "Android", "10", "", "mobile", chromium, chromes},
	{4, "Mozilla/5.0 (Linux; Android 14; SM-S921B)" + gecko + "Chrome/% Mobile Safari/537.36", "Chrome", "Android", "14", "SM-S921B", "mobile", chromium, mobiles},
	{3, "Mozilla/5.0 (Linux; Android 13; SM-A536B)" + gecko + "Chrome/% Mobile Safari/537.36", "Chrome", "Android", "13", "SM-A536B", "mobile", chromium, mobiles},
	{2, "Mozilla/5.0 (Linux; Android 15; Pixel 8)" + gecko + "Chrome/% Mobile Safari/537.36", "Chrome", "Android", "15", "Pixel 8", "mobile", chromium, mobiles},
	{2, "Mozilla/5.0 (Linux; Android 12; Redmi Note 11)" + gecko + "Chrome/% Mobile Safari/537.36", "Chrome", "Android", "12", "Redmi Note 11", "mobile", chromium, mobiles},
	{1, "Mozilla/5.0 (Linux; Android 13; SM-X200)" + gecko + "Chrome/% Safari/537.36", "Chrome", "Android", "13", "SM-X200", "tablet", chromium, mobiles},
	{3, "Mozilla/5.0 (Linux; Android 10; K)" + gecko + "SamsungBrowser/% Chrome/125.0.0.0 Mobile Safari/537.36", "Samsung Browser", "Android", "10", "", "mobile", chromium, "28.0 27.0 26.0 25.0"},
	{9, "Mozilla/5.0 (Windows NT 10.0; Win64; x64)" + gecko + "Chrome/% Safari/537.36 Edg/%", "Edge", "Windows", "10.0", "", "desktop", chromium, chromes},
	{2, "Mozilla/5.0 (Windows NT 10.0; Win64; x64)" + gecko + "Chrome/134.0.0.0 Safari/537.36 OPR/%", "Opera", "Windows", "10.0", "", "desktop", chromium, "119.0.0.0 118.0.0.0 117.0.0.0"},
	{6, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:%) Gecko/20100101 Firefox/%", "Firefox", "Windows", "10.0", "", "desktop", browser, foxes},
	{2, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:%) Gecko/20100101 Firefox/%", "Firefox", "macOS", "10.15", "", "desktop", browser, foxes},
	{2, "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:%) Gecko/20100101 Firefox/%", "Firefox", "Linux", "", "", "desktop", browser, foxes},
	{1, "Mozilla/5.0 (Android 14; Mobile; rv:%) Gecko/% Firefox/%", "Firefox", "Android", "14", "", "mobile", browser, foxes},
	{8, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)" + webkit + "Version/% Safari/605.1.15", "Safari", "macOS", "10.15.7", "", "desktop", browser, safaris},
	{18, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)" + webkit + "Version/% Mobile/15E148 Safari/604.1", "Safari", "iOS", "18.5", "iPhone", "mobile", browser, safaris},
	{3, "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X)" + webkit + "Version/% Mobile/15E148 Safari/604.1", "Safari", "iOS", "17.6.1", "iPhone", "mobile", browser, "17.6 17.5 17.4.1"},
	{3, "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X)" + webkit + "Version/% Mobile/15E148 Safari/604.1", "Safari", "iOS", "17.6", "iPad", "tablet", browser, "17.6 16.6 15.6"},
	{2, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X)" + webkit + "CriOS/% Mobile/15E148 Safari/604.1", "Chrome", "iOS", "18.4", "iPhone", "mobile", browser, "137.0.7151.79 136.0.7103.91 135.0.7049.83"},
	{5, "Shop/% CFNetwork/1496.0.7 Darwin/23.5.0", "Shop", "iOS", "", "", "mobile", app, "5.12.3 5.12.1 5.11.0 5.9.4"},
	{6, "Shop/% (Android 14; okhttp/4.12.0)", "Shop", "Android", "14", "", "mobile", app, "5.12.2 5.12.0 5.10.7 5.8.1"},
	{3, "okhttp/%", "okhttp", "", "", "", "", app, "4.12.0 4.11.0 4.9.3 3.14.9"},
	{1, "Dart/% (dart:io)", "Dart", "", "", "", "", app, "3.4 3.2 2.19"},
	{4, "Go-http-client/%", "Go-http-client", "", "", "", "", library, "1.1"},
	{3, "python-requests/%", "python-requests", "", "", "", "", library, "2.32.3 2.31.0 2.28.2 2.25.1"},
	{1, "python-httpx/%", "python-httpx", "", "", "", "", library, "0.27.0 0.25.2"},
	{2, "axios/%", "axios", "", "", "", "", library, "1.7.2 1.6.8 0.27.2"},
	{2, "Apache-HttpClient/% (Java/17.0.11)", "Apache-HttpClient", "", "", "", "", library, "4.5.14 5.3.1 4.5.13"},
	{1, "Java/%", "Java", "", "", "", "", library, "17.0.11 11.0.23 1.8.0_392"},
	{1, "curl/%", "curl", "", "", "", "", library, "8.5.0 7.88.1 7.81.0 7.68.0"},
	{1, "PostmanRuntime/%", "PostmanRuntime", "", "", "", "", library, "7.39.0 7.37.3"},
	{1, "kube-probe/%", "kube-probe", "", "", "", "", library, "1.29 1.27"},
	{3, "Mozilla/5.0 (compatible; Googlebot/%; +http://www.google.com/bot.html)", "Googlebot", "", "", "", "bot", crawler, "2.1"},
	{2, "Mozilla/5.0 (compatible; bingbot/%; +http://www.bing.com/bingbot.htm)", "Bingbot", "", "", "", "bot", crawler, "2.0"},
	{1, "Mozilla/5.0 (compatible; YandexBot/%; +http://yandex.com/bots)", "YandexBot", "", "", "", "bot", crawler, "3.0"},
	{1, "Mozilla/5.0 (compatible; AhrefsBot/%; +http://ahrefs.com/robot/)", "AhrefsBot", "", "", "", "bot", crawler, "7.0"},
	{1, "Mozilla/5.0 (compatible; SemrushBot/%; +http://www.semrush.com/bot.html)", "SemrushBot", "", "", "", "bot", crawler, "7~bl"},
	{1, "Mozilla/5.0" + gecko + "(compatible; GPTBot/%; +https://openai.com/gptbot)", "GPTBot", "", "", "", "bot", crawler, "1.2"},
	{1, "facebookexternalhit/% (+http://www.facebook.com/externalhit_uatext.php)", "facebookexternalhit", "", "", "", "bot", crawler, "1.1"},
}

// newAgents makes all User-Agent headers, the most frequent first.
func newAgents() []agent {
	type weighed struct {
		agent
		weight float64
	}
	var all []weighed
	for _, f := range families {
		for i, v := range strings.Fields(f.versions) {
			a := agent{text: strings.ReplaceAll(f.text, "%", v), style: f.style, facts: exchange.UserAgent{
				Name: f.name, Version: v, OS: f.os, OSVersion: f.osV, Device: f.device, Kind: f.kind}}
			if f.style == chromium {
				major, _, _ := strings.Cut(v, ".")
				mobile := "?0"
				if f.kind == "mobile" {
					mobile = "?1"
				}
				brand := map[string]string{"Chrome": "Google Chrome", "Edge": "Microsoft Edge"}[f.name]
				if brand == "" {
					brand = f.name
				}
				a.hints = [3]string{`"` + brand + `";v="` + major + `", "Chromium";v="` + major + `", "Not/A)Brand";v="24"`, mobile, `"` + f.os + `"`}
			}
			all = append(all, weighed{a, f.weight / float64(i+1)})
		}
	}
	slices.SortStableFunc(all, func(a, b weighed) int { return cmp.Compare(b.weight, a.weight) })
	agents := make([]agent, len(all))
	for i := range all {
		agents[i] = all[i].agent
	}
	return agents
}
